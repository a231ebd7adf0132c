"""Tabulate the rank and the probability of one policy's top-1 token in the other."""

from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.first_choices import table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "scores").parse_args()
    write_table(args, table(args.scores, args.spec.analysis))


if __name__ == "__main__":
    run(main)
