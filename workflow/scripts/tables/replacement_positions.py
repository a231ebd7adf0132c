"""Tabulate where along a response tokens are switched and replaced in cross-sampling."""

from tokenshift.command import run
from tokenshift.config.specs import ReplacementPositionsSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.replacement_positions import table


def main() -> None:
    args = table_parser(__doc__, ReplacementPositionsSpec, "cross_samples").parse_args()
    write_table(args, table(args.cross_samples, args.spec.budget, args.spec.analysis))


if __name__ == "__main__":
    run(main)
