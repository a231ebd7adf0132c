"""Tabulate what a budget of replaced tokens buys at best."""

from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.budget_frontier import table
from tokenshift.tables.files import table_parser, write_table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "cross_samples").parse_args()
    write_table(args, table(args.cross_samples, args.spec.analysis))


if __name__ == "__main__":
    run(main)
