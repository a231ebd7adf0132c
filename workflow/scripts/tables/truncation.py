"""Tabulate JS under several truncations and temperatures."""

from tokenshift.command import run
from tokenshift.config.specs import TruncationSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.truncation import table


def main() -> None:
    args = table_parser(__doc__, TruncationSpec, "scores").parse_args()
    spec = args.spec
    write_table(args, table(args.scores, spec.truncation, spec.ablation, spec.analysis))


if __name__ == "__main__":
    run(main)
