"""How the shifts grow in training: quantiles of JS against the base, by checkpoint (arXiv 2603.22446, analysis 3).

JS is rounded to DIGITS significant digits, so that a checkpoint's values can be counted, problem by problem, in memory
that does not grow with their number: there are 9000 such values to a power of ten. Every quantile, in the sample and in
each resample, is the exact one so rounded: off by at most 5e-4 of itself.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap, Measures
from tokenshift.tables.cells import problem_index, table_rows
from tokenshift.tables.files import collect, names, scan
from tokenshift.tables.statistics import Resampled, problem_weights, weighted_quantiles

DIVERGENCES = ["js", "js_nucleus"]
DIGITS = 4


def steps(checkpoint_scores: pl.LazyFrame) -> list[int]:
    """Training steps of the checkpoints that were scored, increasing."""
    return collect(checkpoint_scores.select(pl.col("step").unique()))["step"].sort().to_list()


def quantiles_at(
    checkpoint_scores: pl.LazyFrame, step: int, divergence: str, quantiles: Sequence[float], bootstrap: Bootstrap
) -> Resampled:
    """Quantiles (inverted CDF) of the divergence over response positions at the checkpoint of `step`."""
    at_step = checkpoint_scores.filter(pl.col("step") == step)
    value = pl.col(divergence).round_sig_figs(DIGITS)
    counted = collect(at_step.group_by("problem_id", value=value).agg(count=pl.len()))
    problem_ids, problem = problem_index(counted)
    weights = problem_weights(bootstrap, len(problem_ids))
    values, count = (counted[column].to_numpy() for column in ("value", "count"))
    draws = weighted_quantiles(weights, values, problem, count, quantiles)
    counts = (np.full(len(quantiles), number) for number in (len(problem_ids), count.sum()))
    return Resampled(problem_ids, draws, *counts)


def table(checkpoint_scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of evolution.csv."""
    bootstrap, quantiles = analysis.bootstrap, analysis.quantiles
    tables = []
    for path in checkpoint_scores:
        named, rows = names("checkpoint_scores", path), scan("checkpoint_scores", path)
        for divergence in DIVERGENCES:
            for step in steps(rows):
                keys = [{"divergence": divergence, "step": step, "quantile": quantile} for quantile in quantiles]
                resampled = quantiles_at(rows, step, divergence, quantiles, bootstrap)
                tables.append(table_rows(named, keys, resampled, bootstrap))
    return pl.concat(tables)
