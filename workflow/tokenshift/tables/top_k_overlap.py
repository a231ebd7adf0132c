"""Whether the candidates stay: overlap of the two policies' top-k sets (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.tables.cells import Cell, mean, position_subsets, score_table

COLUMNS = ["top_ids_base", "top_ids_tuned"]


def overlap(keys: dict, k: int, where: pl.Expr) -> Cell:
    """Mean share of the k most probable tokens that the policies have in common, at positions that satisfy `where`."""
    shared = pl.col("top_ids_base").list.head(k).list.set_intersection(pl.col("top_ids_tuned").list.head(k))
    return mean(keys | {"k": k}, shared.list.len() / k, where)


def table(scores: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of top_k_overlap.csv."""
    cells = [
        overlap({"positions": positions}, k, where)
        for positions, where in position_subsets(analysis).items()
        for k in analysis["top_k"]
    ]
    return score_table(scores, [*COLUMNS, analysis["divergence"]], cells, analysis)
