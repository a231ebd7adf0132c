"""Say what a study will cost in hours, memory and disk, stage by stage, before anything is run."""

import argparse
from pathlib import Path

from tokenshift.cluster.estimate import estimate, known_sizes, table
from tokenshift.command import run
from tokenshift.config.loading import load_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--billions", type=float, help="parameters of models that do not say, in billions")
    args = parser.parse_args()
    study = load_study(args.study)
    print(table(study, estimate(study, known_sizes(study, Path("results")), args.billions)))


if __name__ == "__main__":
    run(main)
