"""Tabulate mean JS by position in the response."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.tables.files import table_parser
from tokenshift.tables.position_profile import table


def main() -> None:
    args = table_parser(__doc__, "scores", "rollouts").parse_args()
    write_csv(args.output, table(args.scores, args.rollouts, args.spec["pairs"], args.spec["analysis"]))


if __name__ == "__main__":
    run(main)
