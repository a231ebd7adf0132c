"""Say what a study will cost in hours, memory and disk, stage by stage, before anything is run."""

import argparse
from pathlib import Path

from tokenshift.command import run
from tokenshift.config.loading import load_study
from tokenshift.costs.estimate import estimate, table
from tokenshift.costs.known import Known, known_problems, measured_hours
from tokenshift.costs.rates import rates_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--billions", type=float, help="parameters of models that do not say, in billions")
    parser.add_argument("--length", type=float, help="mean tokens of a response, where they are known")
    args = parser.parse_args()
    study, results = load_study(args.study), Path("results")
    known = Known(*known_problems(study, results), args.billions, args.length)
    costs = estimate(study, known, rates_of(study))
    benchmarks = results / study.name / "benchmarks"
    taken = {cost.stage: measured_hours(benchmarks / cost.folder) for cost in costs}
    print(table(study, costs, known, taken))


if __name__ == "__main__":
    run(main)
