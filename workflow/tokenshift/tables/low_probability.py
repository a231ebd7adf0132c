"""Little from nowhere: how improbable one policy's top-1 token was in the other (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, position_subsets, score_table, share

LOG_PROBABILITIES = {
    "base_of_tuned_top1": "logp_base_of_tuned_top1",
    "tuned_of_base_top1": "logp_tuned_of_base_top1",
}
LEVELS = (0.001, 0.05, 0.1)


def share_improbable(keys: dict, direction: str, probability: float, where: pl.Expr) -> Cell:
    """Share of the positions that satisfy `where` at which a policy gives the other's top-1 less than `probability`."""
    improbable = pl.col(LOG_PROBABILITIES[direction]).exp() < probability
    return share(keys | {"direction": direction, "probability_below": probability}, improbable, where)


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of low_probability.csv: at analysis.improbable and three levels around its default."""
    cells = [
        share_improbable({"positions": positions}, direction, probability, where)
        for positions, where in position_subsets(analysis).items()
        for direction in LOG_PROBABILITIES
        for probability in sorted({*LEVELS, analysis.improbable})
    ]
    return score_table(scores, cells, analysis)
