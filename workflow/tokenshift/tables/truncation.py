"""Whether the shifts are an artefact of truncation: JS of full, tempered and truncated distributions side by side.

A control that reviewers of arXiv 2603.22446 asked for, which measures JS on distributions truncated to top-p.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.config.measurements import Truncation
from tokenshift.tables.cells import Cell, mean, score_table, share


def measured_under(evaluation: Truncation, ablation: Sequence[Truncation]) -> Iterator[tuple[Truncation, pl.Expr]]:
    """Every distribution under which JS was measured, and that JS: the full one, the evaluation's, the ablation's."""
    yield Truncation(temperature=1.0, top_p=1.0), pl.col("js")
    yield evaluation, pl.col("js_nucleus")
    for index, further in enumerate(ablation):
        yield further, pl.col("js_ablation").list.get(index)


def truncation_cells(evaluation: Truncation, ablation: Sequence[Truncation], analysis: Measures) -> list[Cell]:
    """Of each distribution: mean JS, share near zero, share high, and share still high of what is high in full."""
    near_zero, high, in_full = analysis.near_zero, analysis.high, pl.col("js") > analysis.high
    cells = []
    for truncation, js in measured_under(evaluation, ablation):
        keys = truncation.plain()
        cells += [
            mean(keys | {"quantity": "mean"}, js),
            share(keys | {"quantity": "share_near_zero"}, js < near_zero),
            share(keys | {"quantity": "share_high"}, js > high),
            share(keys | {"quantity": "share_high_of_full"}, js > high, in_full),
        ]
    return cells


def table(
    scores: Sequence[Path], evaluation: Truncation, ablation: Sequence[Truncation], analysis: Measures
) -> pl.DataFrame:
    """Rows of truncation.csv."""
    return score_table(scores, truncation_cells(evaluation, ablation, analysis), analysis)
