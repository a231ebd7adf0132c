"""Tabulate accuracy against the budget of replaced tokens in cross-sampling."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import IntervalsSpec
from tokenshift.tables.cross_sampling import table
from tokenshift.tables.files import table_parser


def main() -> None:
    args = table_parser(__doc__, IntervalsSpec, "cross_samples").parse_args()
    write_csv(args.output, table(args.cross_samples, args.spec.bootstrap))


if __name__ == "__main__":
    run(main)
