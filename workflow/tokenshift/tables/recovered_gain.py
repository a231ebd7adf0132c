"""How much of the gain so many tokens recover, or lose, and how few suffice (arXiv 2603.22446, analysis 2)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap
from tokenshift.tables.cells import table_rows
from tokenshift.tables.files import names
from tokenshift.tables.statistics import Resampled, summarise
from tokenshift.tables.sweep import Sweep, sweep


def gap_is_clear(measured: Sweep) -> bool:
    """Whether the gap's interval excludes 0; if not, shares of the gap mean nothing."""
    gap = summarise(measured.bootstrap, measured.gap)
    return bool(gap.ci_low[0] > 0 or gap.ci_high[0] < 0)


def reaching(measured: Sweep, paired: bool) -> list[int]:
    """Indices of the finite thresholds whose accuracy reaches that of the intervention alone.

    That is: whose interval has its end on the intervention's side at the intervention's accuracy or past it. The
    interval is that of accuracy itself, or, paired, that of accuracy minus the intervention's, which leaves out how
    problems differ in difficulty, so that it reaches later.
    """
    accuracy, sought = measured.accuracy, measured.accuracy.draws[0, -1]
    if paired:
        accuracy, sought = accuracy - accuracy[-1:], 0.0
    interval = summarise(measured.bootstrap, accuracy)
    rises = measured.gap.draws[0, 0] > 0
    reached = interval.ci_high >= sought if rises else interval.ci_low <= sought
    return [index for index in measured.finite if reached[index]]


def sufficient(measured: Sweep, budgets: Resampled, paired: bool) -> tuple[float | None, Resampled]:
    """The smallest of `budgets` at a threshold that reaches the intervention's accuracy: threshold and one cell.

    Null and NaN where none does, or where the gap is not clear: then there is nothing to reach.
    """
    sufficing = reaching(measured, paired) if gap_is_clear(measured) else []
    if not sufficing:
        return None, _undefined(budgets[:1])
    smallest = min(sufficing, key=lambda index: budgets.draws[0, index])
    return measured.thresholds[smallest], budgets[smallest : smallest + 1]


def _undefined(cells: Resampled) -> Resampled:
    nothing = np.zeros_like(cells.n_problems)
    return Resampled(cells.problem_ids, np.full_like(cells.draws, np.nan), nothing, nothing)


def table(cross_samples: Sequence[Path], bootstrap: Bootstrap) -> pl.DataFrame:
    """Rows of recovered_gain.csv; budget numbers the thresholds as in cross_sampling.csv.

    gap: accuracy of the intervention alone minus that of the primary alone. recovered_gain is null where the gap's
    interval reaches 0. gain_per_replaced: accuracy that each effective token gains, or loses in reverse.
    sufficient_share and sufficient_count are the smallest effective share and count that `reaching` finds, with the
    threshold at which they are, and null where it finds none; in their names _paired says which interval.
    """
    tables = []
    for path in cross_samples:
        measured = sweep(path, bootstrap)
        steps = list(enumerate(measured.thresholds))
        recovered = measured.recovered_gain if gap_is_clear(measured) else _undefined(measured.recovered_gain)
        budgets = {"share": measured.effective_share, "count": measured.effective_count}
        rows = [
            *(("effective_" + kind, steps, cells) for kind, cells in budgets.items()),
            ("recovered_gain", steps, recovered),
            ("gain_per_replaced", steps, measured.gain_per_replaced),
            ("gap", [(None, None)], measured.gap),
        ]
        for kind, cells in budgets.items():
            for suffix, paired in (("", False), ("_paired", True)):
                threshold, cell = sufficient(measured, cells, paired)
                index = None if threshold is None else measured.thresholds.index(threshold)
                rows.append((f"sufficient_{kind}{suffix}", [(index, threshold)], cell))
        for quantity, of_steps, resampled in rows:
            keys = [{"budget": budget, "threshold": threshold, "quantity": quantity} for budget, threshold in of_steps]
            tables.append(table_rows(names("cross_samples", path), keys, resampled, bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
