"""What is known of a study beside its file: the problems at hand, and how long stages took that have been run."""

import csv
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from tokenshift.config.study import Study
from tokenshift.problems.sets import kept_problems

SOME = 20  # problems of a set, of which the mean length is taken
# What becomes a token of its own, about: a word, a digit, a mark, the end of a line.
PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|\n")


@dataclass(frozen=True)
class Known:
    """What is known of a study beside its file: where not, it is assumed.

    problems, tokens: size and mean length, in tokens, of problem sets. billions: parameters of models that do not say.
    length: mean length of a response, in tokens.
    """

    problems: dict[str, int]
    tokens: dict[str, float]
    billions: float | None = None
    length: float | None = None


def pieces(text: str) -> int:
    """About how many tokens `text` has."""
    return len(PIECE.findall(text))


def known_problems(study: Study, results: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Sizes of the problem sets that are built already, or whose file can be counted; mean tokens of a few problems.

    The latter of sets that are built, generated, or in a local file.
    """
    sizes, tokens = {}, {}
    for name, entry in study.problems.items():
        built = results / study.name / "problems" / f"{name}.parquet"
        local = entry.jsonl and Path(entry.jsonl.path).is_file()
        texts = []
        if built.is_file():
            sizes[name] = pq.read_metadata(built).num_rows
            texts = pq.read_table(built, columns=["problem"])["problem"].to_pylist()[:SOME]
        elif entry.reasoning_gym or local:
            found = islice(kept_problems(entry, f"problems.{name}", frozenset()), min(SOME, entry.size or SOME))
            texts = [problem.problem for problem in found]
        if not built.is_file() and local and Path(entry.jsonl.path).suffix == ".jsonl":
            with open(entry.jsonl.path, "rb") as lines:
                rows = sum(1 for line in lines if line.strip())
            sizes[name] = min(rows, entry.size or rows)
        if texts:
            tokens[name] = sum(map(pieces, texts)) / len(texts)
    return sizes, tokens


def measured_hours(folder: Path) -> float | None:
    """Hours of the jobs that made the files of a stage, by Snakemake's benchmarks in `folder`; None without any."""
    seconds = []
    for file in folder.rglob("*.tsv"):
        with open(file, newline="") as lines:
            seconds += [float(row["s"]) for row in csv.DictReader(lines, delimiter="\t")]
    return sum(seconds) / 3600 if seconds else None
