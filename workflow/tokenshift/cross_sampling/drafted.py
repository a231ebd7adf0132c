"""Drafted tokens: the distributions that both policies have there, and what is noted of them in the rows."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenshift.cross_sampling.rows import Rows
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.policies.captured import sent
from tokenshift.policies.draws import Draws
from tokenshift.registries.criteria import Criterion


@dataclass(frozen=True)
class Drafted:
    """One token of several rows, at a position of each, and the distributions there, as far as they are known."""

    rows: np.ndarray
    positions: np.ndarray
    primary: Distribution | None = None
    intervention: Distribution | None = None

    def some(self, there: np.ndarray) -> "Drafted":
        """The token of some of the rows, where `there` is true."""
        if there.all():
            return self
        index = sent(np.flatnonzero(there), self.primary.logits.device)
        primary = Distribution(self.primary.logits[index], self.primary.sampling)
        return Drafted(self.rows[there], self.positions[there], primary)

    def verified(self, intervention: Distribution) -> "Drafted":
        """The same token with the intervention's distribution."""
        return dataclasses.replace(self, intervention=intervention)


def note_interventions(rows: Rows, tokens: Sequence[Drafted], uniforms: np.ndarray) -> None:
    """Note in the trace of `rows` what the intervention would draw at `tokens`; `uniforms` (prompts, positions)."""
    pending = []
    for token in tokens:
        draws = Draws(uniforms[rows.prompt[token.rows], token.positions, None], token.intervention.sampling)
        draws.draw(token.intervention.logits, token.intervention.sampled)
        pending.append((token, draws))
    for token, draws in pending:
        drawn = draws.seen()
        rows.trace.intervention[token.rows, token.positions] = drawn.tokens[:, 0]
        rows.trace.intervention_margins[token.rows, token.positions] = drawn.margins[:, 0]


def note_scores(rows: Rows, tokens: Sequence[Drafted], criterion: Criterion, coins: np.ndarray) -> None:
    """Note in the trace of `rows` the criterion's scores of `tokens`; `coins` (prompts, positions)."""
    pending = []
    for token in tokens:
        drawn = rows.trace.primary[token.rows, token.positions]
        given = (drawn, coins[rows.prompt[token.rows], token.positions])
        on_device = (sent(values, token.primary.logits.device) for values in given)
        pending.append((token, SCORES[criterion.name](Observed(token.primary, token.intervention, *on_device))))
    for token, scores in pending:
        rows.trace.scores[token.rows, token.positions] = scores.double().cpu().numpy()
