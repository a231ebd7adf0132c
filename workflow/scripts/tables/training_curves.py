"""Tabulate what every RL run reported, step by step, over its seeds."""

from tokenshift.command import run
from tokenshift.config.specs import TrainingCurvesSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.training_curves import table


def main() -> None:
    args = table_parser(__doc__, TrainingCurvesSpec, "models").parse_args()
    write_table(args, table(args.models, args.spec.groups, args.spec.confidence))


if __name__ == "__main__":
    run(main)
