"""Cells of a table: each a ratio of two sums over the rows of a file, with its interval over problems.

Only sums per problem are taken of the rows, as they stream by. They suffice for the bootstrap of every such ratio
(tokenshift.tables.statistics), which is exact: nothing is approximated for want of memory.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap, Measures
from tokenshift.tables.files import collect, names, scan_scores
from tokenshift.tables.statistics import Resampled, problem_weights, ratio_of_sums, summarise

EVERY = pl.col("problem_id").is_not_null()


@dataclass(frozen=True)
class Cell:
    """Keys of a table's row, the two sums whose ratio it estimates, and how many tokens the rows behind it stand for.

    The sums are aggregations of a file's rows.
    """

    keys: dict[str, object]
    numerator: pl.Expr
    denominator: pl.Expr
    tokens: pl.Expr


def total(value: pl.Expr) -> pl.Expr:
    """Sum of `value`, the same to the last bit in whatever order the rows come.

    Each value is rounded to a multiple of 2^-60, about 1e-18, and these are added as integers of 128 bits. Sums of
    floats depend on their order, which is not fixed where a file is read in parts.
    """
    return (value.cast(pl.Float64) * 2.0**60).round().cast(pl.Int128).sum().cast(pl.Float64) / 2.0**60


def ratio(keys: dict[str, object], value: pl.Expr, per: pl.Expr, where: pl.Expr = EVERY) -> Cell:
    """Sum of `value` over the sum of `per`, of the rows that satisfy `where`."""
    numerator, denominator = (total(pl.when(where).then(part).otherwise(0)) for part in (value, per))
    return Cell(keys, numerator, denominator, _tokens(where & (per > 0)))


def mean(keys: dict[str, object], value: pl.Expr, where: pl.Expr = EVERY) -> Cell:
    """Mean of `value` over the rows that satisfy `where`."""
    return Cell(keys, total(pl.when(where).then(value).otherwise(0)), where.sum(), _tokens(where))


def share(keys: dict[str, object], condition: pl.Expr, where: pl.Expr = EVERY) -> Cell:
    """Share of the rows that satisfy `where` that satisfy the condition too."""
    return Cell(keys, (condition & where).sum(), where.sum(), _tokens(where))


def _tokens(where: pl.Expr) -> pl.Expr:
    return pl.when(where).then("tokens").otherwise(0).sum()


def bins(column: str, edges: Sequence[float]) -> Iterator[tuple[float, float, pl.Expr]]:
    """Bins of a column: edges and the condition to lie inside, closed below and open above, the last one closed."""
    for low, high in itertools.pairwise(edges):
        yield low, high, pl.col(column).is_between(low, high, closed="both" if high == edges[-1] else "left")


def position_subsets(analysis: Measures) -> dict[str, pl.Expr]:
    """The positions that the fine-grained tables compare: all, and those with JS above analysis.high."""
    return {"all": EVERY, "high_js": pl.col(analysis.divergence) > analysis.high}


def measure(rows: pl.LazyFrame, cells: Sequence[Cell], bootstrap: Bootstrap) -> Resampled:
    """The cells' ratios in the sample and in every resample of its problems, in one pass over the rows.

    `rows` holds problem_id, tokens (how many tokens a row stands for) and what the cells' expressions use. All
    problems of the file are resampled, also for cells that only some of them enter.
    """
    parts = ("numerator", "denominator", "tokens")
    keyed = {part: [(getattr(cell, part).meta.serialize(), getattr(cell, part)) for cell in cells] for part in parts}
    # Cells share sums, above all denominators: each is taken once.
    distinct = dict(itertools.chain.from_iterable(keyed.values()))
    column = {key: f"sum_{index}" for index, key in enumerate(distinct)}
    sums = (expression.alias(column[key]) for key, expression in distinct.items())
    by_problem = collect(rows.group_by("problem_id").agg(sums).sort("problem_id"))
    numerator, denominator, tokens = (
        np.column_stack([by_problem[column[key]].to_numpy().astype(float) for key, _ in keyed[part]]) for part in parts
    )
    return Resampled(
        problem_ids=tuple(by_problem["problem_id"]),
        draws=ratio_of_sums(problem_weights(bootstrap, len(by_problem)), numerator, denominator),
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
    estimate = summarise(bootstrap, resampled)
    return pl.DataFrame([named | cell_keys for cell_keys in keys], infer_schema_length=None).with_columns(
        pl.Series("estimate", estimate.estimate).fill_nan(None),
        pl.Series("ci_low", estimate.ci_low).fill_nan(None),
        pl.Series("ci_high", estimate.ci_high).fill_nan(None),
        pl.Series("n_problems", resampled.n_problems),
        pl.Series("n_tokens", resampled.n_tokens),
    )


def score_table(
    paths: Sequence[Path],
    cells: Sequence[Cell],
    analysis: Measures,
    prepare: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda scores: scores,
) -> pl.DataFrame:
    """The same cells measured in the rows that `prepare` makes of each scores file."""
    bootstrap = analysis.bootstrap
    return pl.concat(
        (
            table_rows(
                names("scores", path),
                (cell.keys for cell in cells),
                measure(prepare(scan_scores(path)), cells, bootstrap),
                bootstrap,
            )
            for path in paths
        ),
        how="vertical_relaxed",
    )
