"""Reading the responses that scores lie along: a policy's own, or those decoded with both at one step of a sweep."""

from pathlib import Path

import polars as pl

from tokenshift.artifacts import scan_parquet
from tokenshift.errors import StudyError
from tokenshift.registries.trajectories import Mixed
from tokenshift.schemas import CROSS_SAMPLES, ROLLOUTS


def scan_trajectory(path: str | Path, trajectory: str) -> pl.LazyFrame:
    """Rows of schemas.ROLLOUTS of the trajectory, from the file of rollouts or cross-samples that it comes from.

    Raises StudyError when the sweep has no such step.
    """
    mixed = Mixed.parse(trajectory)
    if mixed is None:
        return scan_parquet(path, ROLLOUTS).select(ROLLOUTS.names)
    sweep = scan_parquet(path, CROSS_SAMPLES)
    thresholds = sweep.select(pl.col("threshold").unique()).collect()["threshold"].sort(descending=True)
    if mixed.step >= len(thresholds):
        raise StudyError(
            f"{path}: trajectory {trajectory} asks for step {mixed.step} of a sweep with steps 0 to "
            f"{len(thresholds) - 1}; choose an earlier one in scoring.trajectories"
        )
    return sweep.filter(pl.col("threshold") == thresholds[mixed.step]).select(ROLLOUTS.names)


def read_trajectory(path: str | Path, trajectory: str) -> pl.DataFrame:
    """All of what `scan_trajectory` finds, in memory."""
    return scan_trajectory(path, trajectory).collect()
