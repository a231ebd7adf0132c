"""Tabulate the rank of one policy's top-1 token in the other."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.files import table_parser
from tokenshift.tables.rank_reordering import table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "scores").parse_args()
    write_csv(args.output, table(args.scores, args.spec.analysis))


if __name__ == "__main__":
    run(main)
