"""What the tables are made from: names in a file's path, rows of the file, arguments of a table's script."""

import argparse
import json
import re
from pathlib import Path

import polars as pl

from tokenshift import schemas
from tokenshift.artifacts import read_parquet
from tokenshift.errors import StudyError

LAYOUTS = {
    "scores": ("{pair}/{set}/{trajectory}.parquet", schemas.SCORES),
    "checkpoint_scores": ("{pair}/{set}.parquet", schemas.CHECKPOINT_SCORES),
    "cross_samples": ("{pair}/{set}/{direction}-{criterion}.parquet", schemas.CROSS_SAMPLES),
    "rollouts": ("{model}/{set}.parquet", schemas.ROLLOUTS),
    "vocabularies": ("{pair}.parquet", schemas.VOCABULARY),
}


def names(kind: str, path: str | Path) -> dict[str, str]:
    """Names that the last parts of a file's path stand for, such as pair, set and trajectory of a scores file.

    Raises StudyError when the path is not laid out as files of this kind are.
    """
    layout, _ = LAYOUTS[kind]
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", layout.replace(".", r"\."))
    match = re.search(f"(?:^|/){pattern}$", Path(path).as_posix())
    if match is None:
        raise StudyError(f"{path}: a {kind} file must lie at .../{layout}")
    return match.groupdict()


def read(kind: str, path: str | Path, columns: list[str]) -> pl.DataFrame:
    """Those columns of a file, floats as Float64, since sums of millions of Float32 lose digits.

    Raises StudyError when the file is of another kind or holds no rows.
    """
    frame = read_parquet(path, LAYOUTS[kind][1], columns)
    if frame.is_empty():
        raise StudyError(f"{path} holds no rows; delete it and let Snakemake make it again")
    return frame.with_columns(pl.selectors.float().cast(pl.Float64))


def read_scores(path: str | Path, columns: list[str]) -> pl.DataFrame:
    """A scores file: problem_id, sample, those columns, length (of the response), tokens (1: a row is a position)."""
    frame = read("scores", path, ["problem_id", "sample", *columns])
    return frame.with_columns(length=pl.len().over("problem_id", "sample"), tokens=pl.lit(1))


def read_responses(kind: str, path: str | Path, columns: list[str]) -> pl.DataFrame:
    """A rollouts or cross_samples file: problem_id, correct, tokens (length of the response), and those columns."""
    frame = read(kind, path, ["problem_id", "correct", "response_token_ids", *columns])
    return frame.with_columns(tokens=pl.col("response_token_ids").list.len().cast(pl.Int64)).drop("response_token_ids")


def table_parser(description: str | None, *kinds: str, may_be_empty: bool = False) -> argparse.ArgumentParser:
    """Arguments of a table's script: --spec, one list of files (which may be empty) for each of `kinds`, --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=json.loads, required=True, help="JSON with the study's `analysis` section")
    for kind in kinds:
        flag = "--" + kind.replace("_", "-")
        nargs = "*" if may_be_empty else "+"
        parser.add_argument(flag, type=Path, nargs=nargs, required=True, metavar="PARQUET", help=LAYOUTS[kind][0])
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    return parser
