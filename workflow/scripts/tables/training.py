"""Tabulate accuracy and response length of every model, by seed and over seeds."""

from tokenshift.command import run
from tokenshift.config.specs import TrainingTableSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.training import table


def main() -> None:
    args = table_parser(__doc__, TrainingTableSpec, "rollouts").parse_args()
    write_table(args, table(args.rollouts, args.spec.training, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
