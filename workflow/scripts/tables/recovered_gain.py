"""Tabulate how much of the gain replaced tokens recover or lose, and how few suffice."""

from tokenshift.command import run
from tokenshift.config.specs import IntervalsSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.recovered_gain import table


def main() -> None:
    args = table_parser(__doc__, IntervalsSpec, "cross_samples").parse_args()
    write_table(args, table(args.cross_samples, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
