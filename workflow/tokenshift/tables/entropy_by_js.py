"""Whether changed positions were uncertain: both policies' entropy in bins of JS (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, bins, mean, score_table, share


def mean_entropy(keys: dict, policy: str, where: pl.Expr) -> Cell:
    """Mean entropy (nats) of `policy` (base or tuned) at the positions that satisfy `where`."""
    return mean(keys | {"policy": policy, "quantity": "mean_entropy"}, pl.col(f"entropy_{policy}"), where)


def share_low_entropy(keys: dict, policy: str, where: pl.Expr, low_entropy: float) -> Cell:
    """Share of the positions that satisfy `where` at which the entropy of `policy` is below `low_entropy` (nats)."""
    confident = pl.col(f"entropy_{policy}") < low_entropy
    return share(keys | {"policy": policy, "quantity": "share_low_entropy"}, confident, where)


def entropy_cells(analysis: Measures, low_entropy: float) -> list[Cell]:
    """For each policy and bin: mean entropy, share below `low_entropy`, and the bin's share of all positions.

    JS outside the edges is in no bin.
    """
    cells = []
    for policy in ("base", "tuned"):
        for low, high, inside in bins(analysis.divergence, analysis.js_edges):
            keys = {"policy": policy, "quantity": "share_of_positions", "js_low": low, "js_high": high}
            cells += [
                mean_entropy(keys, policy, inside),
                share_low_entropy(keys, policy, inside, low_entropy),
                share(keys, inside),
            ]
    return cells


def table(scores: Sequence[Path], low_entropy: float, analysis: Measures) -> pl.DataFrame:
    """Rows of entropy_by_js.csv; share_of_positions is the same for either policy. low_entropy is in nats."""
    return score_table(scores, entropy_cells(analysis, low_entropy), analysis)
