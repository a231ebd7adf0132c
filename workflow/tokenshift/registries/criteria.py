"""Switching criteria: what a rule of cross-sampling compares with its threshold at each position.

A new criterion is an entry of CRITERIA and a function of that name in tokenshift.cross_sampling.scores.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenshift.errors import StudyError, nearest

NONE, ALL = math.inf, -math.inf  # thresholds that switch nowhere, and everywhere

Threshold = float | Sequence[float]  # one number, or one per response position


@dataclass(frozen=True)
class Criterion:
    """A number at each position; the rule switches to the intervention policy where it exceeds a threshold.

    Args:
        name: in the study file, and in names of files.
        label: in figures.
        columns: of schemas.SCORES that hold it along the primary's own responses: one, or two of which the second is
            subtracted; {primary} and {intervention} stand for base and tuned, as the direction has it.
        lowest: of its range, in nats.
        highest: of its range in nats, a function of the vocabulary size.
        primary_alone: whether it looks at the primary policy alone, so that the intervention need not be asked.
        switches_below: whether the rule switches below the threshold instead of above.
    """

    name: str
    label: str
    columns: tuple[str, ...]
    lowest: float = 0.0
    highest: Callable[[int], float] = lambda _: math.inf
    primary_alone: bool = False
    switches_below: bool = False

    def switches(self, values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """Whether the rule switches, for values and thresholds of one shape."""
        return values < thresholds if self.switches_below else values > thresholds

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


def _ln_2(vocabulary_size: int) -> float:
    return math.log(2)


CRITERIA = {
    criterion.name: criterion
    for criterion in (
        Criterion("js", "JS", ("js",), highest=_ln_2),
        Criterion("js_nucleus", "JS of the nuclei", ("js_nucleus",), highest=_ln_2),
        Criterion("kl_primary_intervention", "KL(primary, intervention)", ("kl_{primary}_{intervention}",)),
        Criterion("kl_intervention_primary", "KL(intervention, primary)", ("kl_{intervention}_{primary}",)),
        Criterion(
            "entropy_primary",
            "entropy of the primary",
            ("entropy_{primary}",),
            highest=math.log,
            primary_alone=True,
        ),
        Criterion("entropy_intervention", "entropy of the intervention", ("entropy_{intervention}",), highest=math.log),
        Criterion(
            "logp_difference",
            "difference of log-probability",
            ("logp_{primary}", "logp_{intervention}"),
            lowest=-math.inf,
        ),
    )
}

# What every random control compares: a coin in [0, 1), with the probability at which to switch.
COIN = Criterion("random", "random", (), highest=lambda _: 1.0, primary_alone=True, switches_below=True)


def criterion(name: str) -> Criterion:
    """The criterion called `name`. Raises StudyError, with the nearest name, when there is none."""
    if name not in CRITERIA:
        raise StudyError(f"no switching criterion '{name}'{nearest(name, CRITERIA)}")
    return CRITERIA[name]
