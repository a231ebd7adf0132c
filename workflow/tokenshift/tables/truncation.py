"""Whether the shifts are an artefact of truncation: JS of full, tempered and truncated distributions side by side.

A control that reviewers of arXiv 2603.22446 asked for, which measures JS on distributions truncated to top-p.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from tokenshift.tables.cells import Cell, mean, score_table, share


def truncations(scoring: dict) -> Iterator[tuple[dict[str, float], pl.Expr]]:
    """Temperature and top-p of every measured distribution, and its JS: the full one, the evaluation's, the ablation.

    scoring: truncation, a mapping of temperature and top_p, and ablation, a list of such mappings.
    """
    yield {"temperature": 1.0, "top_p": 1.0}, pl.col("js")
    yield scoring["truncation"], pl.col("js_nucleus")
    for index, further in enumerate(scoring["ablation"]):
        yield further, pl.col("js_ablation").list.get(index)


def truncation_cells(scoring: dict, analysis: dict) -> list[Cell]:
    """Of each distribution: mean JS, share near zero, share high, and share still high of what is high in full."""
    near_zero, high, in_full = analysis["near_zero"], analysis["high"], pl.col("js") > analysis["high"]
    cells = []
    for keys, js in truncations(scoring):
        cells += [
            mean(keys | {"quantity": "mean"}, js),
            share(keys | {"quantity": "share_near_zero"}, js < near_zero),
            share(keys | {"quantity": "share_high"}, js > high),
            share(keys | {"quantity": "share_high_of_full"}, js > high, in_full),
        ]
    return cells


def table(scores: Sequence[Path], scoring: dict, analysis: dict) -> pl.DataFrame:
    """Rows of truncation.csv."""
    return score_table(scores, truncation_cells(scoring, analysis), analysis)
