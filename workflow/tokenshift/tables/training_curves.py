"""What training reports step by step, over seeds: reward, accuracy, entropy, KL, clip shares, weights (analysis 4)."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.errors import StudyError
from tokenshift.tables.files import names
from tokenshift.tables.statistics import t_interval

METRICS_FILE = "metrics.jsonl"  # of tokenshift.training.metrics, in the model folder


def read_metrics(folder: Path) -> pl.DataFrame:
    """What the run that made the model in `folder` reported: step, metric, value; of each step what it has.

    Raises StudyError when the folder holds no such report.
    """
    file = folder / METRICS_FILE
    if not file.is_file():
        raise StudyError(f"{folder} holds no {METRICS_FILE}; delete the folder and let Snakemake train the model again")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    long = [
        {"step": row["step"], "metric": name, "value": float(value)}
        for row in rows
        for name, value in row.items()
        if name != "step" and value is not None
    ]
    if not long:
        raise StudyError(f"{file} holds no metrics; delete {folder} and let Snakemake train the model again")
    return pl.DataFrame(long)


def over_seeds(reported: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Mean over seeds of each metric at each step of `reported` (step, metric, value, a row for each seed).

    ci_low and ci_high are the t interval of that mean, null with fewer than two seeds; lowest and highest the range of
    the seeds. Steps that a seed skipped are means over the others: n_seeds counts.
    """
    rows = []
    for (metric, step), of_seeds in reported.group_by("metric", "step", maintain_order=True):
        values = of_seeds["value"].to_numpy()
        low, high = t_interval(values, confidence)
        row = {"metric": metric, "step": step, "estimate": values.mean(), "ci_low": low, "ci_high": high}
        rows.append(row | {"lowest": values.min(), "highest": values.max(), "n_seeds": len(values)})
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("ci_low", "ci_high").fill_nan(None))


def table(models: Sequence[Path], groups: dict[str, dict[int, str]], confidence: float) -> pl.DataFrame:
    """Rows of training_curves.csv; `model` is the group.

    `models` are the manifests of the trained models; `groups` names each group's model by seed.
    """
    by_model = {names("models", manifest)["model"]: read_metrics(manifest.parent) for manifest in models}
    tables = [
        over_seeds(pl.concat([by_model[model] for model in seeds.values()]), confidence)
        .sort("metric", "step")
        .select(pl.lit(group).alias("model"), pl.all())
        for group, seeds in groups.items()
    ]
    return pl.concat(tables, how="vertical_relaxed")
