"""Build a corpus: write worked solutions of a problem set, or read problems and solutions."""

import argparse
from pathlib import Path

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import CorpusSpec
from tokenshift.problems.corpora import worked_solutions, written_solutions
from tokenshift.schemas import CORPUS, PROBLEMS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=CorpusSpec.parse, required=True, help="JSON of a CorpusSpec")
    parser.add_argument("--problems", type=Path, nargs="?", help="Parquet file of the problems to solve")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of the corpus")
    args = parser.parse_args()
    spec, corpus = args.spec, args.spec.corpus
    if corpus.worked_solutions is not None:
        table = worked_solutions(read_parquet(args.problems, PROBLEMS), corpus.worked_solutions, corpus.seed)
    else:
        table = written_solutions(spec.name, corpus)
    write_parquet(args.output, table, CORPUS, spec.plain(), ("datasets", "numpy"))


if __name__ == "__main__":
    run(main)
