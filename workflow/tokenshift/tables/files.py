"""What the tables are made from: names in a file's path, rows of the file, arguments of a table's script.

A file may also be a folder of that name, with the rows in any number of Parquet files.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift import schemas
from tokenshift.artifacts import read_spec, scan_parquet, shards, write_csv
from tokenshift.config.specs import Spec
from tokenshift.errors import StudyError

LAYOUTS = {
    "scores": ("{pair}/{set}/{trajectory}.parquet", schemas.SCORES),
    "checkpoint_scores": ("{pair}/{set}.parquet", schemas.CHECKPOINT_SCORES),
    "cross_samples": ("{pair}/{set}/{direction}-{criterion}.parquet", schemas.CROSS_SAMPLES),
    "rollouts": ("{model}/{set}.parquet", schemas.ROLLOUTS),
    "vocabularies": ("{pair}.parquet", schemas.VOCABULARY),
    "models": ("{model}/manifest.json", None),  # which stands for all files of the folder
}

Files = dict[tuple[str, ...], Path]  # by the names in the path, such as (pair, set, trajectory)


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


def by_names(kind: str, paths: Sequence[Path]) -> Files:
    """The paths of files of one kind, by what their names stand for."""
    return {tuple(names(kind, path).values()): path for path in paths}


def scan(kind: str, path: str | Path) -> pl.LazyFrame:
    """A file's rows, floats as Float64, since sums of millions of Float32 lose digits.

    They may be more than memory holds: `collect` what is made of them. Raises StudyError when the file is of another
    kind, was made for other names than its path's, or holds no rows.
    """
    rows = scan_parquet(path, LAYOUTS[kind][1])
    for file in shards(path):
        made_for = read_spec(file)
        for name, value in names(kind, path).items():
            if made_for.get(name, value) != value:
                raise StudyError(
                    f"{file} was made for {name} '{made_for[name]}', not '{value}'; delete it and let Snakemake make "
                    "it again"
                )
    if collect(rows.select(pl.len())).item() == 0:
        raise StudyError(f"{path} holds no rows; delete it and let Snakemake make it again")
    return rows.with_columns(pl.selectors.float().cast(pl.Float64))


def collect(rows: pl.LazyFrame) -> pl.DataFrame:
    """Compute `rows` a few row groups at a time (polars' streaming engine): memory holds the result, not the file.

    The engine takes the rows in no fixed order, even in one thread: add integers (`tables.cells.total`), sort groups.
    """
    return rows.collect(engine="streaming")


def scan_scores(path: str | Path) -> pl.LazyFrame:
    """A scores file, with tokens (1: a row is a position)."""
    return scan("scores", path).with_columns(tokens=pl.lit(1))


def with_lengths(scores: pl.LazyFrame) -> pl.LazyFrame:
    """The positions with the length of their response (tokens), counted in a pass of its own."""
    response = ["problem_id", "sample"]
    lengths = collect(scores.group_by(response).agg(length=pl.len()))
    return scores.join(lengths.lazy(), on=response, how="left")


def read_responses(kind: str, path: str | Path, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    """A rollouts or cross_samples file: problem_id, correct, tokens (length of the response), and those columns."""
    length = pl.col("response_token_ids").list.len().cast(pl.Int64)
    return collect(scan(kind, path).select("problem_id", "correct", tokens=length, **columns))


def write_table(args: argparse.Namespace, table: pl.DataFrame) -> None:
    """Write a table's rows to --output, with a column that says so where models may know what they are asked."""
    if args.spec.allow_overlap:
        table = table.with_columns(trained_on_evaluated=pl.lit(True))
    write_csv(args.output, table)


def table_parser(
    description: str | None, spec: type[Spec], *kinds: str, may_be_empty: bool = False
) -> argparse.ArgumentParser:
    """Arguments of a table's script: --spec, one list of files (which may be empty) for each of `kinds`, --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=spec.parse, required=True, metavar="JSON", help=spec.__name__)
    for kind in kinds:
        flag = "--" + kind.replace("_", "-")
        nargs = "*" if may_be_empty else "+"
        parser.add_argument(flag, type=Path, nargs=nargs, required=True, metavar="FILE", help=LAYOUTS[kind][0])
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    return parser
