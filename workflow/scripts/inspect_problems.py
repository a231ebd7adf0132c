"""Say what a study's problem sets hold: kinds of answers, unusable ones, repetitions, overlaps between sets."""

import argparse
from itertools import islice

from tokenshift.command import run
from tokenshift.config.loading import load_study
from tokenshift.problems.grading import Grader
from tokenshift.problems.inspection import inspected
from tokenshift.problems.sets import Problem, kept_problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or path of the study")
    parser.add_argument("--set", help="the problem set to describe; by default each of the study's")
    args = parser.parse_args()
    study = load_study(args.study)
    sets: dict[str, list[Problem]] = {}

    def read(name: str) -> list[Problem]:
        """The problems of a set, once those that it excludes are read."""
        if name not in sets:
            entry = study.problems[name]
            excluded = {problem.problem for other in entry.exclude for problem in read(other)}
            sets[name] = list(islice(kept_problems(entry, f"problems.{name}", excluded), entry.size))
        return sets[name]

    for name in study.problems:
        read(name)
    with Grader() as grader:
        for name in [args.set] if args.set else sets:
            print("\n".join(inspected(name, sets, grader)))


if __name__ == "__main__":
    run(main)
