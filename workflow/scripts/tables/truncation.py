"""Tabulate JS under several truncations and temperatures."""

from tokenshift.artifacts import write_csv
from tokenshift.command import run
from tokenshift.config.specs import TruncationSpec
from tokenshift.tables.files import table_parser
from tokenshift.tables.truncation import table


def main() -> None:
    args = table_parser(__doc__, TruncationSpec, "scores").parse_args()
    spec = args.spec
    write_csv(args.output, table(args.scores, spec.truncation, spec.ablation, spec.analysis))


if __name__ == "__main__":
    run(main)
