"""Tabulate JS under several truncations and temperatures."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.tables.files import table_parser
from tokenshift.tables.truncation import table


def main() -> None:
    args = table_parser(__doc__, "scores").parse_args()
    write_csv(args.output, table(args.scores, args.spec["scoring"], args.spec["analysis"]))


if __name__ == "__main__":
    run(main)
