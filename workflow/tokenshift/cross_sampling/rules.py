"""Switching rules: at which positions the next token is drawn from the intervention policy instead of the primary.

A criterion gives each position a score; the rule switches where the score exceeds a threshold (for `random`: where the
coin is below a probability). Thresholds of positive and negative infinity switch nowhere and everywhere. A new rule is
one function from Evidence to scores, registered with its range of thresholds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from tokenshift.distributions.comparison import NextToken, compare_nuclei
from tokenshift.distributions.divergence import entropy_of, js_of, kl_of, log_probabilities
from tokenshift.distributions.sampling import Sampling, probabilities
from tokenshift.errors import StudyError, nearest

NONE, ALL = math.inf, -math.inf

Threshold = float | Sequence[float]  # one value, or one per response position


class Distribution:
    """Next-token distributions at N positions over the shared vocabulary, each form computed once."""

    def __init__(self, logits: Tensor, sampling: Sampling):
        self.logits, self.sampling = logits, sampling

    @cached_property
    def p(self) -> Tensor:
        """Probabilities (N, V) at temperature 1."""
        return probabilities(self.logits, 1.0)

    @cached_property
    def logp(self) -> Tensor:
        """Log-probabilities (N, V) at temperature 1."""
        return log_probabilities(self.logits)

    @cached_property
    def sampled(self) -> Tensor:
        """Probabilities (N, V) at the sampling temperature, before truncation."""
        temperature = self.sampling.temperature
        return self.p if temperature == 1 else probabilities(self.logits, temperature)

    @cached_property
    def candidates(self) -> NextToken:
        """The most probable tokens at the sampling temperature."""
        return NextToken.of(self.logits, self.sampling.temperature)


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at, at N positions."""

    primary: Distribution
    intervention: Distribution | None  # absent for rules that look at the primary alone
    drafted: Tensor  # (N,) what the primary would draw
    coins: Tensor  # (N,) uniform in [0, 1)


@dataclass(frozen=True)
class Criterion:
    """A score with the range of its thresholds; `highest` is a function of the vocabulary size."""

    name: str
    score: Callable[[Evidence], Tensor]
    primary_alone: bool
    lowest: float
    highest: Callable[[int], float]
    switches_below: bool

    def fires(self, scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """Whether the rule switches, for scores and thresholds of one shape."""
        return scores < thresholds if self.switches_below else scores > thresholds

    def thresholds(self, threshold: Threshold, positions: int, vocabulary_size: int) -> np.ndarray:
        """`threshold` at each of `positions`, (positions,). Raises StudyError when it lies outside the range."""
        values = np.asarray(threshold, dtype=np.float64)
        if values.ndim and values.shape != (positions,):
            raise StudyError(f"{self.name}: {values.size} thresholds by position, but responses have {positions}")
        lowest, highest = self.lowest, self.highest(vocabulary_size)
        wrong = ~((values >= lowest) & (values <= highest) | np.isinf(values))
        if wrong.any():
            raise StudyError(
                f"{self.name}: threshold {np.atleast_1d(values)[np.atleast_1d(wrong)][0]} lies outside its range, "
                f"{lowest:g} to {highest:g} (or inf: switch nowhere, -inf: everywhere)"
            )
        if self.switches_below:
            values = np.where(np.isinf(values), -values, values)
        return np.broadcast_to(values, (positions,))


CRITERIA: dict[str, Criterion] = {}


def criterion(
    lowest: float,
    highest: float | Callable[[int], float] = math.inf,
    primary_alone: bool = False,
    switches_below: bool = False,
) -> Callable[[Callable[[Evidence], Tensor]], Criterion]:
    """Register a score under its function's name."""

    def register(score: Callable[[Evidence], Tensor]) -> Criterion:
        top = highest if callable(highest) else lambda _: highest
        CRITERIA[score.__name__] = Criterion(score.__name__, score, primary_alone, lowest, top, switches_below)
        return CRITERIA[score.__name__]

    return register


def named(name: str) -> Criterion:
    """The criterion called `name`. Raises StudyError, with the nearest name, when there is none."""
    if name not in CRITERIA:
        raise StudyError(f"no switching criterion '{name}'{nearest(name, CRITERIA)}")
    return CRITERIA[name]


@criterion(0.0, math.log(2))
def js(at: Evidence) -> Tensor:
    """Jensen-Shannon divergence over the full vocabulary at temperature 1; switches above (arXiv 2603.22446)."""
    return js_of(at.primary.p, at.intervention.p)


@criterion(0.0, math.log(2))
def js_nucleus(at: Evidence) -> Tensor:
    """Jensen-Shannon divergence of the truncated, renormalised sampling distributions; switches above."""
    top_p = at.primary.sampling.top_p
    untruncated = js_of(at.primary.sampled, at.intervention.sampled)
    return compare_nuclei(at.primary.candidates, at.intervention.candidates, top_p, untruncated)["js_nucleus"]


@criterion(0.0)
def kl_primary_intervention(at: Evidence) -> Tensor:
    """KL(primary || intervention) at temperature 1; switches above."""
    return kl_of(at.primary.p, at.primary.logp, at.intervention.logp)


@criterion(0.0)
def kl_intervention_primary(at: Evidence) -> Tensor:
    """KL(intervention || primary) at temperature 1; switches above."""
    return kl_of(at.intervention.p, at.intervention.logp, at.primary.logp)


@criterion(0.0, math.log, primary_alone=True)
def entropy_primary(at: Evidence) -> Tensor:
    """Entropy of the primary at temperature 1; switches above: where the primary is uncertain."""
    return entropy_of(at.primary.p, at.primary.logp)


@criterion(0.0, math.log)
def entropy_intervention(at: Evidence) -> Tensor:
    """Entropy of the intervention policy at temperature 1; switches above: where the intervention is uncertain."""
    return entropy_of(at.intervention.p, at.intervention.logp)


@criterion(-math.inf)
def logp_difference(at: Evidence) -> Tensor:
    """log p_primary - log p_intervention of the drafted token; switches above: where the intervention objects to it."""
    own, other = (of.logp.gather(-1, at.drafted[:, None]) for of in (at.primary, at.intervention))
    return (own - other).squeeze(-1)


@criterion(0.0, 1.0, primary_alone=True, switches_below=True)
def random(at: Evidence) -> Tensor:
    """The coin, whatever the distributions; switches below a probability, which may vary with the position.

    Positions switched at a probability are also switched at every larger one.
    """
    return at.coins
