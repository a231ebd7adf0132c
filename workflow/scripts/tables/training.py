"""Tabulate accuracy and response length of every model, by seed and over seeds."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import TrainingTableSpec
from tokenshift.tables.files import table_parser
from tokenshift.tables.training import table


def main() -> None:
    args = table_parser(__doc__, TrainingTableSpec, "rollouts").parse_args()
    write_csv(args.output, table(args.rollouts, args.spec.training, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
