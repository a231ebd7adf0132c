"""What the shifted tokens cause: accuracy against the budget of replaced tokens (arXiv 2603.22446, analysis 2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tokenshift.errors import StudyError
from tokenshift.statistics import Bootstrap, Resampled
from tokenshift.tables.cells import mean, measure, ratio, share, table_rows
from tokenshift.tables.files import names, read_responses


@dataclass(frozen=True)
class Sweep:
    """One direction and criterion, over thresholds from +inf (the primary alone) to -inf (the intervention alone).

    effective counts the tokens that differ from what the primary would have drawn at that position. The intervention
    may well draw the same token, so it can lie far below the switched share.
    """

    path: Path
    thresholds: list[float]
    accuracy: Resampled
    switched_share: Resampled
    effective_share: Resampled
    effective_count: Resampled
    length: Resampled

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

    def largest_within(self, budget: float) -> int | None:
        """Index of the lowest finite threshold whose effective share is at most `budget`; None if there is none."""
        shares = self.effective_share.draws[0]
        within = [i for i, t in enumerate(self.thresholds) if math.isfinite(t) and shares[i] <= budget]
        return max(within, default=None)


def sweep(path: Path, bootstrap: Bootstrap) -> Sweep:
    """Measure a cross_samples file.

    Raises StudyError when it lacks the primary's (+inf) or the intervention's (-inf) responses.
    """
    counts = {column: pl.col(column).list.sum() for column in ("switched", "replaced")}
    frame = read_responses("cross_samples", path, {"threshold": pl.col("threshold"), **counts})
    thresholds = frame["threshold"].unique().sort(descending=True).to_list()
    if thresholds[0] != math.inf or thresholds[-1] != -math.inf:
        raise StudyError(f"{path} must hold the thresholds inf and -inf; delete it and let Snakemake make it again")
    at = [pl.col("threshold") == threshold for threshold in thresholds]
    tokens, switched, replaced = pl.col("tokens"), pl.col("switched"), pl.col("replaced")
    quantities = [
        [share({}, pl.col("correct"), here) for here in at],
        [ratio({}, switched, tokens, here) for here in at],
        [ratio({}, replaced, tokens, here) for here in at],
        [mean({}, replaced, here) for here in at],
        [mean({}, tokens, here) for here in at],
    ]
    measured = measure(frame.lazy(), [cell for cells in quantities for cell in cells], bootstrap)
    n = len(thresholds)
    return Sweep(path, thresholds, *(measured[i * n : (i + 1) * n] for i in range(len(quantities))))


def check_matched(js: Sweep, random: Sweep) -> None:
    """Raise StudyError when a random control has other thresholds than the JS sweep whose shares it matches."""
    if js.thresholds != random.thresholds:
        raise StudyError(
            f"{random.path} has other thresholds than {js.path}, which it matches; delete it and let Snakemake make it "
            f"again"
        )


def quantities(measured: Sweep, control: Sweep | None) -> dict[str, Resampled]:
    """Every quantity of the table, each with one cell per threshold; differences to `control` where there is one."""
    result = {
        "accuracy": measured.accuracy,
        "switched_share": measured.switched_share,
        "effective_share": measured.effective_share,
        "effective_count": measured.effective_count,
        "length": measured.length,
        "accuracy_minus_primary": measured.above_primary,
        "recovered_gain": measured.recovered_gain,
    }
    if control is not None:
        check_matched(measured, control)
        result["accuracy_minus_random"] = measured.accuracy - control.accuracy
    return result


def table(cross_samples: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of cross_sampling.csv; budget numbers the thresholds from 0 (inf: no switch) up.

    accuracy_minus_random is given for criterion js where the random control of the same direction is.
    """
    bootstrap = Bootstrap(**analysis["bootstrap"])
    sweeps = {tuple(names("cross_samples", path).values()): sweep(path, bootstrap) for path in cross_samples}
    tables = []
    for (*run, criterion), measured in sweeps.items():
        named = names("cross_samples", measured.path)
        control = sweeps.get((*run, "random")) if criterion == "js" else None
        for quantity, resampled in quantities(measured, control).items():
            keys = [
                {"budget": budget, "threshold": threshold, "quantity": quantity}
                for budget, threshold in enumerate(measured.thresholds)
            ]
            tables.append(table_rows(named, keys, resampled, bootstrap))
    return pl.concat(tables)
