"""Spreading the problems of a set over several jobs."""

import argparse

import polars as pl

from tokenshift.errors import StudyError


def add_shard_argument(parser: argparse.ArgumentParser) -> None:
    """Let a script take `--shard NUMBER COUNT`."""
    parser.add_argument(
        "--shard", type=int, nargs=2, metavar=("NUMBER", "COUNT"), required=True, help="part of the problems, from 0"
    )


def shard(frame: pl.DataFrame, number: int, count: int) -> pl.DataFrame:
    """Rows of the `number`-th (from 0) of `count` blocks of neighbouring problems; sizes differ by at most one problem.

    The shards in order are the whole frame in its order, if the rows of a problem stand together. Raises StudyError
    when there are more shards than problems.
    """
    problems = frame["problem_id"].n_unique()
    if count > problems:
        raise StudyError(f"compute.shards: {count} shards of a set of {problems} problems; make shards smaller")
    return frame.filter(pl.col("problem_id").rle_id() * count // problems == number)
