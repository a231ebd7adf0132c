"""Cells of a table: each a ratio of two sums over the rows of a file, with its interval over problems."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.statistics import Bootstrap, Resampled, ratio_of_sums
from tokenshift.tables.files import names, read_scores

EVERY = pl.col("problem_id").is_not_null()


@dataclass(frozen=True)
class Cell:
    """Keys of a table's row, and the two expressions, one value per row of the file, whose sums' ratio it estimates."""

    keys: dict[str, object]
    numerator: pl.Expr
    denominator: pl.Expr


def ratio(keys: dict[str, object], value: pl.Expr, per: pl.Expr, where: pl.Expr) -> Cell:
    """Sum of `value` over the sum of `per`, of the rows that satisfy `where`."""
    return Cell(keys, *(pl.when(where).then(part.cast(pl.Float64)).otherwise(0.0) for part in (value, per)))


def mean(keys: dict[str, object], value: pl.Expr, where: pl.Expr = EVERY) -> Cell:
    """Mean of `value` over the rows that satisfy `where`; for a condition as the value, the share that satisfies it."""
    return ratio(keys, value, pl.lit(1), where)


def position_subsets(analysis: dict) -> dict[str, pl.Expr]:
    """The positions that the fine-grained tables compare: all, and those with JS above analysis.high."""
    return {"all": EVERY, "high_js": pl.col(analysis["divergence"]) > analysis["high"]}


def measure(frame: pl.DataFrame, cells: Sequence[Cell], bootstrap: Bootstrap) -> Resampled:
    """The cells' ratios in the sample and in every resample of its problems.

    `frame` holds problem_id, tokens (how many tokens a row stands for) and what the cells' expressions use. All
    problems of the file are resampled, also for cells that only some of them enter.
    """
    sums = []
    for index, cell in enumerate(cells):
        sums += [
            cell.numerator.sum().alias(f"numerator_{index}"),
            cell.denominator.sum().alias(f"denominator_{index}"),
            pl.col("tokens").filter(cell.denominator > 0).sum().alias(f"tokens_{index}"),
        ]
    by_problem = frame.lazy().group_by("problem_id").agg(sums).sort("problem_id").collect()
    numerator, denominator, tokens = (
        by_problem.select(f"{part}_{index}" for index in range(len(cells))).to_numpy().astype(float)
        for part in ("numerator", "denominator", "tokens")
    )
    return Resampled(
        problem_ids=tuple(by_problem["problem_id"]),
        draws=ratio_of_sums(bootstrap.weights(len(by_problem)), numerator, denominator),
        n_problems=(denominator > 0).sum(axis=0),
        n_tokens=tokens.sum(axis=0).astype(int),
    )


def problem_index(frame: pl.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """The problem ids of `frame` in order, and for each row the index of its own: (ids, (rows,))."""
    ids = frame["problem_id"].unique().sort()
    return tuple(ids), frame["problem_id"].cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int64)


def table_rows(
    named: dict[str, str], keys: Iterable[dict[str, object]], resampled: Resampled, bootstrap: Bootstrap
) -> pl.DataFrame:
    """One row per cell: what the file's path names, the cell's keys, estimate, interval and counts."""
    estimate = bootstrap.summarise(resampled)
    return pl.DataFrame([named | cell_keys for cell_keys in keys], infer_schema_length=None).with_columns(
        pl.Series("estimate", estimate.estimate).fill_nan(None),
        pl.Series("ci_low", estimate.ci_low).fill_nan(None),
        pl.Series("ci_high", estimate.ci_high).fill_nan(None),
        pl.Series("n_problems", resampled.n_problems),
        pl.Series("n_tokens", resampled.n_tokens),
    )


def score_table(paths: Sequence[Path], columns: list[str], cells: Sequence[Cell], analysis: dict) -> pl.DataFrame:
    """The same cells measured in each scores file, of which they use `columns`."""
    bootstrap = Bootstrap(**analysis["bootstrap"])
    return pl.concat(
        (
            table_rows(
                names("scores", path),
                (cell.keys for cell in cells),
                measure(read_scores(path, columns), cells, bootstrap),
                bootstrap,
            )
            for path in paths
        ),
        how="vertical_relaxed",
    )
