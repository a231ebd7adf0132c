"""Build a problem set: generate or read it, check every problem, leave out those of other sets."""

import argparse
from pathlib import Path

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import ProblemsSpec
from tokenshift.problems.grading import Grader
from tokenshift.problems.sets import build_problems
from tokenshift.schemas import PROBLEMS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=ProblemsSpec.parse, required=True, help="JSON of a ProblemsSpec")
    parser.add_argument("--exclude", type=Path, nargs="*", required=True, help="Parquet files of problems to leave out")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of problems")
    args = parser.parse_args()
    spec = args.spec
    excluded = {problem for file in args.exclude for problem in read_parquet(file, PROBLEMS)["problem"]}
    with Grader() as grader:
        table = build_problems(spec.name, spec.problems, excluded, grader)
    write_parquet(args.output, table, PROBLEMS, spec.plain(), ("datasets", "math-verify", "reasoning-gym"))


if __name__ == "__main__":
    run(main)
