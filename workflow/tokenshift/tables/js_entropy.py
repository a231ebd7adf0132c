"""How JS and entropy fall together: a joint histogram (after arXiv 2603.22446, analysis 1).

The means in bins of JS (entropy_by_js) do not show whether changed positions are of every entropy or of a middling one;
this does.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import Cell, bins, score_table, share


def joint_cells(analysis: Measures) -> list[Cell]:
    """For either policy the share of all positions in each bin of JS and of that policy's entropy (nats).

    Positions outside the edges are in no bin, so that the shares of a policy may add up to less than 1.
    """
    return [
        share(
            {"policy": policy, "js_low": js[0], "js_high": js[1], "entropy_low": low, "entropy_high": high},
            js[2] & inside,
        )
        for policy in ("base", "tuned")
        for js in bins(analysis.divergence, analysis.js_edges)
        for low, high, inside in bins(f"entropy_{policy}", analysis.entropy_edges)
    ]


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of js_entropy.csv."""
    return score_table(scores, joint_cells(analysis), analysis)
