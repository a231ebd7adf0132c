"""Tabulate both policies' entropy in bins of JS."""

from tokenshift.command import run
from tokenshift.config.specs import EntropyByJsSpec
from tokenshift.tables.entropy_by_js import table
from tokenshift.tables.files import table_parser, write_table


def main() -> None:
    args = table_parser(__doc__, EntropyByJsSpec, "scores").parse_args()
    write_table(args, table(args.scores, args.spec.low_entropy, args.spec.analysis))


if __name__ == "__main__":
    run(main)
