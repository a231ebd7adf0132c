"""Where along a response the shifts are: mean JS by position (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.tables.cells import Cell, mean, score_table
from tokenshift.tables.files import read

LENGTH = pl.col("length")


def index_edges(longest: int, bins: int) -> list[int]:
    """Integer edges 0, 1, ... `longest` of at most `bins` bins that widen geometrically.

    The shifts are at the ends of a response, within a few tokens, and a response may have 20,000 of them.
    """
    return [0, *np.unique(np.round(np.geomspace(longest, 1, bins)).astype(int)).tolist()]


def index_cell(divergence: str, origin: str, low: int, high: int) -> Cell:
    """Mean divergence at the token indices low to high - 1, counted from the `origin`: start or end of the response."""
    index = pl.col("position") if origin == "start" else LENGTH - 1 - pl.col("position")
    keys = {"origin": origin, "bin_low": float(low), "bin_high": float(high)}
    return mean(keys, pl.col(divergence), index.is_between(low, high, closed="left"))


def relative_cell(divergence: str, low: float, high: float) -> Cell:
    """Mean divergence over the part of the responses from the share `low` to the share `high` of their length.

    Token t of a response of length L covers the interval [t / L, (t + 1) / L] and counts by the share of itself
    that lies inside [low, high]; so both ends are treated alike, and a response shorter than a bin counts too.
    """
    inside = pl.min_horizontal(pl.col("position") + 1, high * LENGTH) - pl.max_horizontal("position", low * LENGTH)
    # Rounded, lest a rounding error of an edge count as part of a token.
    weight = inside.clip(lower_bound=0).round(9)
    keys = {"origin": "relative", "bin_low": low, "bin_high": high}
    return Cell(keys, pl.col(divergence) * weight, weight)


def table(scores: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of position_profile.csv; all files share their bins. bin_high is exclusive for origins start and end."""
    bins, divergence = analysis["position_bins"], analysis["divergence"]
    longest = max(read("scores", path, ["position"])["position"].max() + 1 for path in scores)
    edges, shares = index_edges(longest, bins), [index / bins for index in range(bins + 1)]
    cells = [index_cell(divergence, origin, *edge) for origin in ("start", "end") for edge in pairwise(edges)]
    cells += [relative_cell(divergence, *edge) for edge in pairwise(shares)]
    return score_table(scores, ["position", divergence], cells, analysis)
