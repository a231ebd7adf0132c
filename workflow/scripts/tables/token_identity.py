"""Tabulate the tokens of highest JS, and the variance of JS that token identity explains."""

from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.token_identity import table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "scores", "vocabularies").parse_args()
    write_table(args, table(args.scores, args.vocabularies, args.spec.analysis))


if __name__ == "__main__":
    run(main)
