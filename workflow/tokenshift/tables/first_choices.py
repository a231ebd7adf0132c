"""Reordering or invention: where one policy's top-1 token stood in the other (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, position_subsets, score_table, share

# Of each direction the columns of the scores that hold the top-1's rank and log-probability in the other policy.
STANDING = {
    "tuned_top1_in_base": ("rank_in_base_of_tuned_top1", "logp_base_of_tuned_top1"),
    "base_top1_in_tuned": ("rank_in_tuned_of_base_top1", "logp_tuned_of_base_top1"),
}
LEVELS = (0.001, 0.05, 0.1)


def share_within(keys: dict, direction: str, rank: int, where: pl.Expr) -> Cell:
    """Share of the positions that satisfy `where` at which one policy's top-1 is in the other's top `rank`."""
    keys = keys | {"direction": direction, "quantity": "rank_at_most", "level": float(rank)}
    return share(keys, pl.col(STANDING[direction][0]) <= rank, where)


def share_improbable(keys: dict, direction: str, probability: float, where: pl.Expr) -> Cell:
    """Share of the positions that satisfy `where` at which a policy gives the other's top-1 less than `probability`."""
    keys = keys | {"direction": direction, "quantity": "probability_below", "level": probability}
    return share(keys, pl.col(STANDING[direction][1]).exp() < probability, where)


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of first_choices.csv: ranks of analysis.top_k; probabilities of analysis.improbable and three levels."""
    cells = []
    for positions, where in position_subsets(analysis).items():
        keys = {"positions": positions}
        for direction in STANDING:
            cells += [share_within(keys, direction, rank, where) for rank in analysis.top_k]
            levels = sorted({*LEVELS, analysis.improbable})
            cells += [share_improbable(keys, direction, level, where) for level in levels]
    return score_table(scores, cells, analysis)
