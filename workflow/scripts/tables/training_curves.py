"""Tabulate what every RL run reported, step by step, over its seeds."""

import argparse
import json
from pathlib import Path

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.tables.training_curves import table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--spec", type=json.loads, required=True, help="JSON with groups (group -> seed -> model), analysis"
    )
    parser.add_argument("--models", type=Path, nargs="+", required=True, metavar="FOLDER", help="trained models")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    args = parser.parse_args()
    write_csv(args.output, table(args.models, args.spec["groups"], args.spec["analysis"]["bootstrap"]["confidence"]))


if __name__ == "__main__":
    run(main)
