"""What the page shows of cross-samples: how a response goes on under each threshold, and which tokens were replaced."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.artifacts import scan_parquet
from tokenshift.schemas import CROSS_SAMPLES
from tokenshift.viewer.columns import Column, counted, named

KEYS = ["problem", "sweep", "sample", "step"]


def thresholds(sweep: Path) -> list[float]:
    """The thresholds of a sweep, from that which switches nowhere (+inf) to that which switches everywhere (-inf)."""
    found = scan_parquet(sweep, CROSS_SAMPLES).select(pl.col("threshold").unique()).collect()
    return found["threshold"].sort(descending=True).to_list()


def index(sweeps: Sequence[Path], problems: Sequence[str]) -> pl.DataFrame:
    """A row per response of the sweeps, in the page's order: by problem, sweep, sample and step (its threshold)."""
    order = pl.DataFrame({"problem_id": problems, "problem": range(len(problems))}).lazy()
    tables = []
    for number, sweep in enumerate(sweeps):
        by_step = thresholds(sweep)
        steps = pl.DataFrame({"threshold": by_step, "step": range(len(by_step))}).lazy()
        rows = scan_parquet(sweep, CROSS_SAMPLES).join(order, on="problem_id").join(steps, on="threshold")
        tables.append(
            rows.select(
                "problem",
                "sample",
                "step",
                "correct",
                "extracted_answer",
                sweep=pl.lit(number),
                length=pl.col("response_token_ids").list.len().cast(pl.Int64),
                replaced=pl.col("replaced").list.sum().cast(pl.Int64),
                switched=pl.col("switched").list.sum().cast(pl.Int64),
            ).collect()
        )
    return pl.concat(tables).sort(KEYS)


def tokens(problem_id: str, sweeps: Sequence[Path], size: int) -> dict[str, Column]:
    """Columns of the cross-samples of one problem, row after row in the order of `index`.

    branch_token: all tokens; branch_at: positions of the replaced ones in their response, as many of each row as its
    `replaced` counts; branch_primary: what the primary policy would have drawn there.
    """
    parts = []
    for number, sweep in enumerate(sweeps):
        rows = scan_parquet(sweep, CROSS_SAMPLES).filter(pl.col("problem_id") == problem_id)
        columns = ["sample", "threshold", "response_token_ids", "replaced", "primary_token_ids"]
        parts.append(rows.select(*columns, sweep=pl.lit(number)).collect())
    rows = pl.concat(parts).sort("sweep", "sample", "threshold", descending=[False, False, True])
    replaced = [np.flatnonzero(of_row) for of_row in rows["replaced"].to_list()]
    primary = [np.array(ids)[at] for ids, at in zip(rows["primary_token_ids"].to_list(), replaced, strict=True)]
    return {
        "branch_token": named(rows["response_token_ids"].explode().to_numpy(), size),
        "branch_at": counted(np.concatenate([*replaced, np.zeros(0, np.int64)])),
        "branch_primary": named(np.concatenate([*primary, np.zeros(0, np.int64)]), size),
    }
