"""A cross-sampling sweep: what is counted of each response, and the quantities that the counts give.

Effective tokens are those that a file's `replaced` marks: drawn from the intervention, and other than what the primary
would have drawn at that position from the same random number (schemas.CROSS_SAMPLES). The intervention may well draw
the same token, so their share can lie far below the switched share.
"""

import math
from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap
from tokenshift.errors import StudyError
from tokenshift.registries.controls import CONTROLS, STRICTEST_FIRST
from tokenshift.tables.files import collect, scan
from tokenshift.tables.statistics import Resampled, pass_at, problem_weights, ratio_of_sums

COUNTED = {
    "correct": pl.col("correct").cast(pl.Int64),
    "tokens": pl.col("switched").list.len().cast(pl.Int64),
    "switched": pl.col("switched").list.sum().cast(pl.Int64),
    "effective": pl.col("replaced").list.sum().cast(pl.Int64),
    "near_ties": pl.col("near_ties").cast(pl.Int64),
}


@dataclass(frozen=True)
class Sweep:
    """One direction and criterion, over thresholds from +inf (the primary alone) to -inf (the intervention alone).

    counts: by what is counted, (problems, thresholds, samples). Every quantity has one cell per threshold.
    """

    path: Path
    thresholds: list[float]
    problem_ids: tuple[str, ...]
    counts: dict[str, np.ndarray]
    bootstrap: Bootstrap

    @property
    def samples(self) -> int:
        """Responses to each problem at each threshold."""
        return self.counts["correct"].shape[2]

    @cached_property
    def accuracy(self) -> Resampled:
        """Share of correct responses (Mean@n)."""
        return self._ratio("correct")

    @cached_property
    def switched_share(self) -> Resampled:
        """Share of tokens drawn from the intervention."""
        return self._ratio("switched", "tokens")

    @cached_property
    def effective_share(self) -> Resampled:
        """Share of effective tokens."""
        return self._ratio("effective", "tokens")

    @cached_property
    def effective_count(self) -> Resampled:
        """Effective tokens per response."""
        return self._ratio("effective")

    @cached_property
    def length(self) -> Resampled:
        """Tokens per response."""
        return self._ratio("tokens")

    @cached_property
    def near_ties(self) -> Resampled:
        """Near ties per 1000 tokens."""
        return self._ratio("near_ties", "tokens", scale=1000)

    def pass_at(self, k: int) -> Resampled:
        """Mean over problems of pass@k."""
        solved = pass_at(k, self._sums("correct"), self.samples)
        return self.resampled(solved, np.ones(solved.shape))

    @property
    def above_primary(self) -> Resampled:
        """Accuracy minus that of the primary alone."""
        return self.accuracy - self.accuracy[:1]

    @property
    def gap(self) -> Resampled:
        """Accuracy of the intervention alone minus that of the primary alone: one cell."""
        return self.above_primary[-1:]

    @property
    def recovered_gain(self) -> Resampled:
        """Share of the gap that the switching closes: the gain recovered (forward) or lost (reverse).

        Where the gap's own interval reaches 0, neither this ratio nor its interval means anything.
        """
        return self.above_primary / self.gap

    @property
    def gain_per_replaced(self) -> Resampled:
        """Accuracy that each effective token gains, or loses where the primary is the better policy."""
        correct = self._sums("correct")
        sign = 1 if self.gap.draws[0, 0] >= 0 else -1
        return self.resampled(sign * (correct - correct[:, :1]), self._sums("effective"))

    @property
    def finite(self) -> list[int]:
        """Indices of the thresholds at which both policies may have a say."""
        return [index for index, threshold in enumerate(self.thresholds) if math.isfinite(threshold)]

    def largest_within(self, budget: float) -> int | None:
        """Index of the lowest finite threshold whose effective share is at most `budget`; None if there is none."""
        shares = self.effective_share.draws[0]
        return max((index for index in self.finite if shares[index] <= budget), default=None)

    def accuracy_at(self, share: Resampled) -> Resampled:
        """Accuracy at these effective shares, read off the straight lines between this sweep's thresholds.

        In each resample from that resample's own shares and accuracies; NaN above the highest of the shares.
        """
        shares, accuracy = self.effective_share.draws, self.accuracy.draws
        order = np.argsort(shares, axis=1, kind="stable")
        curves = zip(*(np.take_along_axis(values, order, axis=1) for values in (shares, accuracy)), strict=True)
        draws = [
            np.interp(wanted, x, y, left=np.nan, right=np.nan)
            for wanted, (x, y) in zip(share.draws, curves, strict=True)
        ]
        return Resampled(self.problem_ids, np.array(draws), share.n_problems, share.n_tokens)

    def resampled(self, numerator: np.ndarray, denominator: np.ndarray) -> Resampled:
        """Ratio of sums over problems, both (problems, thresholds), in the sample and its resamples."""
        return Resampled(
            self.problem_ids,
            ratio_of_sums(problem_weights(self.bootstrap, len(self.problem_ids)), numerator, denominator),
            n_problems=(denominator > 0).sum(axis=0),
            n_tokens=self._sums("tokens").sum(axis=0),
        )

    def _sums(self, counted: str) -> np.ndarray:
        return self.counts[counted].sum(axis=2)

    def _ratio(self, counted: str, per: str | None = None, scale: int = 1) -> Resampled:
        above = scale * self._sums(counted)
        return self.resampled(above, self._sums(per) if per else np.full(above.shape, self.samples))


def sweep(path: Path, bootstrap: Bootstrap) -> Sweep:
    """Count a cross_samples file, as it streams by.

    Raises StudyError when it lacks the primary's (+inf) or the intervention's (-inf) responses, or has not the same
    samples of every problem at every threshold.
    """
    keys = ["problem_id", "threshold", "sample"]
    frame = collect(scan("cross_samples", path).select(*keys, **COUNTED)).sort(keys, descending=[False, True, False])
    ids, thresholds, samples = (frame[key].unique().sort() for key in keys)
    if thresholds[-1] != math.inf or thresholds[0] != -math.inf:
        raise StudyError(f"{path} must hold the thresholds inf and -inf; delete it and let Snakemake make it again")
    shape = (len(ids), len(thresholds), len(samples))
    if len(frame) != math.prod(shape) or frame.select(keys).is_duplicated().any():
        raise StudyError(
            f"{path} has not the same samples of every problem at every threshold; delete it and let Snakemake make it "
            f"again"
        )
    counts = {counted: frame[counted].to_numpy().reshape(shape) for counted in COUNTED}
    return Sweep(path, thresholds.reverse().to_list(), tuple(ids), counts, bootstrap)


def check_matched(js: Sweep, control: Sweep) -> None:
    """Raise StudyError when a random control has other thresholds than the js sweep that it matches."""
    if js.thresholds != control.thresholds:
        raise StudyError(
            f"{control.path} has other thresholds than {js.path}, which it matches; delete it and let Snakemake make "
            f"it again"
        )


def strictest_controls(criteria: Container[str]) -> list[str]:
    """The strictest random control among these criteria that replaces as many tokens, and that switches as many."""
    made = [control for control in STRICTEST_FIRST if control in criteria]
    strictest = {CONTROLS[control].effective: control for control in reversed(made)}
    return [control for control in made if control in strictest.values()]
