"""The claims of several studies side by side: a row for each claim, a column for each study's pair."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.errors import StudyError
from tokenshift.figures.style import read_table
from tokenshift.registries.claims import ORDER, statement
from tokenshift.summary.closing import measured

PAPER = "paper (Qwen2.5-32B)"


def compared(claims: Sequence[Path]) -> pl.DataFrame:
    """The rows of the tables `claims`, results/STUDY/tables/claims.csv, by claim, with the `study` of each.

    Raises StudyError when a table is missing or was made by other code than today's, and when a study is named twice.
    """
    tables, seen = [], set()
    for path in claims:
        study = path.resolve().parents[1].name
        if not path.is_file():
            raise StudyError(f"{path}: study {study} has no claims yet; run `snakemake --config study={study}` first")
        if study in seen:
            raise StudyError(f"study {study} is to be compared with itself; name each once")
        seen.add(study)
        table = read_table(path)
        if "variant" not in table.columns or not set(table["claim"]) <= set(ORDER):
            raise StudyError(f"{path} is of another version of this code; run `snakemake --config study={study}` again")
        tables.append(table.select(pl.lit(study).alias("study"), pl.all()))
    rows = pl.concat(tables, how="diagonal_relaxed")
    variants = rows["variant"].unique(maintain_order=True)
    place = [pl.col("claim").cast(pl.Enum(ORDER)), pl.col("variant").cast(pl.Enum(variants.drop_nulls()))]
    return rows.sort(place, maintain_order=True)


def columns(rows: pl.DataFrame, between: str) -> pl.Expr:
    """The column of each row: its study, pair and, where a study has several, problem set, with `between` them."""
    several = rows.group_by("study").agg(pl.col("set").n_unique() > 1).filter("set")["study"].to_list()
    problem_set = pl.when(pl.col("study").is_in(several)).then(between + pl.col("set")).otherwise(pl.lit(""))
    return pl.col("study") + between + pl.col("pair") + problem_set


def side_by_side(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each claim in words, with the paper's value; a column for each pair, with estimate and verdict."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row, column in zip(rows.iter_rows(named=True), rows.select(columns(rows, " ")).to_series(), strict=True):
        said = statement(row["claim"], row["variant"])
        line = lines.setdefault((row["claim"], said), {"claim": row["claim"], "says": said, PAPER: row["paper_value"]})
        text = {key: "" if value is None else str(value) for key, value in row.items()}
        line[column] = f"{measured(text)} {row['verdict']}" if text["estimate"] else row["verdict"]
    return pl.DataFrame(list(lines.values()), infer_schema_length=None)


def markdown(table: pl.DataFrame) -> str:
    """`table` in Markdown, cells without a value empty."""
    lines = [table.columns, ["---"] * table.width, *table.fill_null("").rows()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
