"""Reordering or invention: the rank of one policy's top-1 token in the other (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, position_subsets, score_table, share

RANKS = {
    "base_rank_of_tuned_top1": "rank_in_base_of_tuned_top1",
    "tuned_rank_of_base_top1": "rank_in_tuned_of_base_top1",
}


def share_within(keys: dict, direction: str, rank: int, where: pl.Expr) -> Cell:
    """Share of the positions that satisfy `where` at which one policy's top-1 is in the other's top `rank`."""
    return share(keys | {"direction": direction, "rank_at_most": rank}, pl.col(RANKS[direction]) <= rank, where)


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of rank_reordering.csv."""
    cells = [
        share_within({"positions": positions}, direction, rank, where)
        for positions, where in position_subsets(analysis).items()
        for direction in RANKS
        for rank in analysis.top_k
    ]
    return score_table(scores, cells, analysis)
