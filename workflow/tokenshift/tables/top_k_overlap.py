"""Whether the candidates stay: overlap of the two policies' top-k sets (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, mean, position_subsets, score_table


def overlap(keys: dict, k: int, where: pl.Expr) -> Cell:
    """Mean share of the k most probable tokens that the policies have in common, at positions that satisfy `where`."""
    return mean(keys | {"k": k}, pl.col("top_shared").list.get(k - 1) / k, where)


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of top_k_overlap.csv."""
    cells = [
        overlap({"positions": positions}, k, where)
        for positions, where in position_subsets(analysis).items()
        for k in analysis.top_k
    ]
    return score_table(scores, cells, analysis)
