"""How sparse the shifts are: the distribution of JS over response positions (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, mean, score_table, share

DIVERGENCES = ["js", "js_nucleus"]
GRID = np.geomspace(1e-6, np.log(2), 38)


def share_below(divergence: str, threshold: float) -> Cell:
    """Share of positions with divergence below `threshold` (nats)."""
    keys = {"divergence": divergence, "quantity": "share_below", "threshold": threshold}
    return share(keys, pl.col(divergence) < threshold)


def share_above(divergence: str, threshold: float) -> Cell:
    """Share of positions with divergence above `threshold` (nats)."""
    keys = {"divergence": divergence, "quantity": "share_above", "threshold": threshold}
    return share(keys, pl.col(divergence) > threshold)


def sparsity_cells(analysis: Measures) -> list[Cell]:
    """For either divergence its ECDF (log-spaced from 1e-6 to ln 2 nats, with both thresholds), tail and mean."""
    thresholds = sorted({*GRID.tolist(), analysis.near_zero, analysis.high})
    cells = []
    for divergence in DIVERGENCES:
        cells += [share_below(divergence, threshold) for threshold in thresholds]
        cells.append(share_above(divergence, analysis.high))
        cells.append(mean({"divergence": divergence, "quantity": "mean", "threshold": None}, pl.col(divergence)))
    return cells


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of sparsity.csv; threshold is null for the mean."""
    return score_table(scores, sparsity_cells(analysis), analysis)
