"""Tabulate how much of the gain replaced tokens recover or lose, and how few suffice."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import IntervalsSpec
from tokenshift.tables.files import table_parser
from tokenshift.tables.recovered_gain import table


def main() -> None:
    args = table_parser(__doc__, IntervalsSpec, "cross_samples").parse_args()
    write_csv(args.output, table(args.cross_samples, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
