"""How the shifts grow in training: quantiles of JS against the base, by checkpoint (arXiv 2603.22446, analysis 3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.statistics import Bootstrap, Resampled, weighted_quantiles
from tokenshift.tables.cells import problem_index, table_rows
from tokenshift.tables.files import names, read

DIVERGENCES = ["js", "js_nucleus"]


def quantiles_at(
    checkpoint_scores: pl.DataFrame, step: int, divergence: str, quantiles: Sequence[float], bootstrap: Bootstrap
) -> Resampled:
    """Quantiles (inverted CDF) of the divergence over response positions at the checkpoint of `step`."""
    at_step = checkpoint_scores.filter(pl.col("step") == step)
    problem_ids, problem = problem_index(at_step)
    draws = weighted_quantiles(bootstrap.weights(len(problem_ids)), at_step[divergence].to_numpy(), problem, quantiles)
    counts = (np.full(len(quantiles), number) for number in (len(problem_ids), len(at_step)))
    return Resampled(problem_ids, draws, *counts)


def table(checkpoint_scores: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of evolution.csv."""
    bootstrap, quantiles = Bootstrap(**analysis["bootstrap"]), analysis["quantiles"]
    tables = []
    for path in checkpoint_scores:
        named = names("checkpoint_scores", path)
        frame = read("checkpoint_scores", path, ["step", "problem_id", *DIVERGENCES])
        for divergence in DIVERGENCES:
            for step in frame["step"].unique().sort():
                keys = [{"divergence": divergence, "step": step, "quantile": quantile} for quantile in quantiles]
                resampled = quantiles_at(frame, step, divergence, quantiles, bootstrap)
                tables.append(table_rows(named, keys, resampled, bootstrap))
    return pl.concat(tables)
