"""Tabulate accuracy against the budget of replaced tokens in cross-sampling."""

from tokenshift.command import run
from tokenshift.config.specs import IntervalsSpec
from tokenshift.tables.cross_sampling import table
from tokenshift.tables.files import table_parser, write_table


def main() -> None:
    args = table_parser(__doc__, IntervalsSpec, "cross_samples").parse_args()
    write_table(args, table(args.cross_samples, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
