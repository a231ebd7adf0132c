"""What the shifted tokens cause: accuracy against the budget of replaced tokens (arXiv 2603.22446, analysis 2)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Bootstrap
from tokenshift.registries.controls import CONTROLS, STRICTEST_FIRST
from tokenshift.tables.cells import table_rows
from tokenshift.tables.files import names
from tokenshift.tables.statistics import Resampled
from tokenshift.tables.sweep import Sweep, check_matched, sweep


def sizes(samples: int) -> list[int]:
    """The k of pass@k: 1, 2, 4, ... and the number of samples itself."""
    return [*(2**power for power in range(samples.bit_length()) if 2**power < samples), samples]


def quantities(measured: Sweep) -> dict[str, Resampled]:
    """What the table says of any sweep, each with one cell per threshold."""
    return {
        "accuracy": measured.accuracy,
        **{f"pass_at_{k}": measured.pass_at(k) for k in sizes(measured.samples)},
        "switched_share": measured.switched_share,
        "effective_share": measured.effective_share,
        "effective_count": measured.effective_count,
        "length": measured.length,
        "near_ties_per_1000_tokens": measured.near_ties,
        "accuracy_minus_primary": measured.above_primary,
    }


def differences(criterion: str, measured: Sweep, controls: dict[str, Sweep]) -> dict[str, Resampled]:
    """Accuracy minus that of each random control: of js at its threshold, of any rule at its effective share."""
    result = {}
    for name, control in controls.items():
        if criterion == "js":
            check_matched(measured, control)
            result[f"accuracy_minus_{name}"] = measured.accuracy - control.accuracy
        at_equal_share = control.accuracy_at(measured.effective_share)
        result[f"accuracy_minus_{name}_at_equal_share"] = measured.accuracy - at_equal_share
    return result


def table(cross_samples: Sequence[Path], bootstrap: Bootstrap) -> pl.DataFrame:
    """Rows of cross_sampling.csv; budget numbers the thresholds from 0 (inf: no switch) up.

    Differences to the random controls of the same pair, set and direction are paired: all runs share their random
    numbers, and their resamples of problems.
    """
    sweeps = {tuple(names("cross_samples", path).values()): sweep(path, bootstrap) for path in cross_samples}
    tables = []
    for (*run, criterion), measured in sweeps.items():
        given = quantities(measured)
        if criterion not in CONTROLS:
            controls = {name: sweeps[*run, name] for name in STRICTEST_FIRST if (*run, name) in sweeps}
            given |= differences(criterion, measured, controls)
        for quantity, resampled in given.items():
            keys = [
                {"budget": budget, "threshold": threshold, "quantity": quantity}
                for budget, threshold in enumerate(measured.thresholds)
            ]
            tables.append(table_rows(names("cross_samples", measured.path), keys, resampled, bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
