"""Whether the candidates stay: overlap of the two policies' top-k sets (arXiv 2603.22446, analysis 3)."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from tokenshift.tables.cells import Cell, mean, position_subsets, score_table


def with_overlaps(scores: pl.LazyFrame, sizes: Sequence[int]) -> pl.LazyFrame:
    """The positions with shared_K: how many of the K most probable tokens the policies have in common."""
    return scores.with_columns(shared(k).alias(f"shared_{k}") for k in sizes)


def shared(k: int) -> pl.Expr:
    """How many tokens the two lists of k have in common: pairs of equal tokens, since none occurs twice in a list."""
    base, tuned = (
        [pl.col(f"top_ids_{policy}").list.get(rank, null_on_oob=True) for rank in range(k)]
        for policy in ("base", "tuned")
    )
    return pl.sum_horizontal(first == second for first, second in itertools.product(base, tuned))


def overlap(keys: dict, k: int, where: pl.Expr) -> Cell:
    """Mean share of the k most probable tokens that the policies have in common, at positions that satisfy `where`.

    Of rows `with_overlaps` of this size.
    """
    return mean(keys | {"k": k}, pl.col(f"shared_{k}") / k, where)


def table(scores: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of top_k_overlap.csv."""
    cells = [
        overlap({"positions": positions}, k, where)
        for positions, where in position_subsets(analysis).items()
        for k in analysis["top_k"]
    ]
    return score_table(scores, cells, analysis, partial(with_overlaps, sizes=analysis["top_k"]))
