"""Tabulate JS and entropy jointly: the share of positions in each bin of both."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.files import table_parser
from tokenshift.tables.js_entropy import table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "scores").parse_args()
    write_csv(args.output, table(args.scores, args.spec.analysis))


if __name__ == "__main__":
    run(main)
