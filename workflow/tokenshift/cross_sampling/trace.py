"""What is known of a response at each position, and which tokens a threshold makes of it: no model is needed here."""

from dataclasses import dataclass, fields

import numpy as np

from tokenshift.registries.criteria import Criterion

UNKNOWN = -1


@dataclass(frozen=True)
class CrossSample:
    """One response decoded with two policies; all lists have one entry per response token."""

    response: list[int]
    switched: list[bool]
    replaced: list[bool]
    primary_tokens: list[int]  # what the primary would have drawn
    scores: list[float]  # of the criterion
    near_ties: int  # positions where a decision that matters was closer than the tolerance


@dataclass
class Trace:
    """Columns by response position, of one response (T,) or of rows (rows, T)."""

    tokens: np.ndarray  # the response
    primary: np.ndarray  # what the primary draws
    intervention: np.ndarray  # what the intervention draws, or UNKNOWN
    scores: np.ndarray  # of the criterion
    primary_margins: np.ndarray  # of the draws
    intervention_margins: np.ndarray

    @classmethod
    def empty(cls, rows: int, positions: int) -> "Trace":
        """Columns of rows of which nothing is known."""
        kinds = (np.int64, np.int64, np.int64, np.float64, np.float64, np.float64)
        return cls(*(np.full((rows, positions), UNKNOWN, dtype=kind) for kind in kinds))

    def __getitem__(self, index) -> "Trace":
        """The same index of every column."""
        return Trace(*(getattr(self, field.name)[index] for field in fields(self)))

    def __setitem__(self, index, values: "Trace") -> None:
        """Assign to the same index of every column."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(values, field.name)

    def copy(self) -> "Trace":
        """Columns of its own."""
        return Trace(*(getattr(self, field.name).copy() for field in fields(self)))


@dataclass(frozen=True)
class Rule:
    """A criterion with what ends a response of either policy."""

    criterion: Criterion
    primary_stops: tuple[int, ...]
    intervention_stops: tuple[int, ...]


@dataclass(frozen=True)
class Decisions:
    """What a rule makes of a trace, position by position, as long as the tokens before stay the same."""

    switched: np.ndarray
    tokens: np.ndarray
    unknown: np.ndarray  # switched, but what the intervention draws is not known
    changed: np.ndarray  # the token is another than the trace's
    ends: np.ndarray  # the token ends the response: the policy that it is drawn from takes it for an end of sequence

    @property
    def events(self) -> np.ndarray:
        """Where the trace cannot simply be followed."""
        return self.unknown | self.changed | self.ends


def decide(rule: Rule, trace: Trace, thresholds: np.ndarray) -> Decisions:
    """Decisions at every position of `trace`, with thresholds of its shape."""
    switched = rule.criterion.switches(trace.scores, thresholds)
    unknown = switched & (trace.intervention == UNKNOWN)
    tokens = np.where(switched, trace.intervention, trace.primary)
    ends = np.where(switched, np.isin(tokens, rule.intervention_stops), np.isin(tokens, rule.primary_stops)) & ~unknown
    return Decisions(switched, tokens, unknown, (tokens != trace.tokens) & ~unknown, ends)


def shared_length(rule: Rule, trace: Trace, thresholds: np.ndarray) -> int:
    """How many tokens of a response at `thresholds` are known from the `trace` of one at other thresholds."""
    decisions = decide(rule, trace, thresholds)
    if not decisions.events.any():
        return len(trace.tokens)
    first = int(decisions.events.argmax())
    return first if decisions.unknown[first] else first + 1


def cross_sample_of(rule: Rule, trace: Trace, thresholds: np.ndarray, near_tie: float) -> CrossSample:
    """The response that `trace` holds. A decision counts as a near tie when its margin is below `near_tie`.

    Decisions are the draw of the token from its policy and, where the policies draw different tokens or the
    intervention was not asked, the rule's: the distance of score and threshold.
    """
    switched = decide(rule, trace, thresholds).switched
    margins = np.where(switched, trace.intervention_margins, trace.primary_margins)
    close = np.abs(trace.scores - thresholds) < near_tie
    ties = (margins < near_tie) | close & (trace.intervention != trace.primary)
    return CrossSample(
        trace.tokens.tolist(),
        switched.tolist(),
        (switched & (trace.tokens != trace.primary)).tolist(),
        trace.primary.tolist(),
        trace.scores.tolist(),
        int(ties.sum()),
    )
