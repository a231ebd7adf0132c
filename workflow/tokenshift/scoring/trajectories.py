"""The responses that scores lie along: a policy's own, or those decoded with both at one step of a sweep.

A trajectory is called tuned, base, or DIRECTION-CRITERION-STEP, such as forward-js-3; the steps of a sweep count from
0 (threshold +inf: no switch).
"""

from pathlib import Path

import polars as pl

from tokenshift.artifacts import scan_parquet
from tokenshift.errors import StudyError
from tokenshift.schemas import CROSS_SAMPLES, ROLLOUTS


def is_mixed(trajectory: str) -> bool:
    """Whether it was decoded with both policies."""
    return trajectory not in ("tuned", "base")


def sweep_of(trajectory: str) -> tuple[str, int]:
    """Name of the sweep, DIRECTION-CRITERION, of a mixed trajectory, and its step."""
    sweep, _, step = trajectory.rpartition("-")
    return sweep, int(step)


def scan_trajectory(path: str | Path, trajectory: str) -> pl.LazyFrame:
    """Rows of schemas.ROLLOUTS of the trajectory, from the rollouts or cross-samples that it comes from.

    Raises StudyError when the sweep has no such step.
    """
    if not is_mixed(trajectory):
        return scan_parquet(path, ROLLOUTS).select(ROLLOUTS.names)
    _, step = sweep_of(trajectory)
    sweep = scan_parquet(path, CROSS_SAMPLES)
    thresholds = sweep.select(pl.col("threshold").unique()).collect()["threshold"].sort(descending=True)
    if step >= len(thresholds):
        raise StudyError(
            f"{path}: trajectory {trajectory} asks for step {step} of a sweep with steps 0 to {len(thresholds) - 1}; "
            "choose an earlier one in scoring.trajectories"
        )
    return sweep.filter(pl.col("threshold") == thresholds[step]).select(ROLLOUTS.names)


def read_trajectory(path: str | Path, trajectory: str) -> pl.DataFrame:
    """All of what `scan_trajectory` finds, in memory."""
    return scan_trajectory(path, trajectory).collect()
