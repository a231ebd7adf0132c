"""Tabulate quantiles of JS against the base at each checkpoint of training."""

from tokenshift.command import run
from tokenshift.config.specs import TableSpec
from tokenshift.tables.evolution import table
from tokenshift.tables.files import table_parser, write_table


def main() -> None:
    args = table_parser(__doc__, TableSpec, "checkpoint_scores").parse_args()
    write_table(args, table(args.checkpoint_scores, args.spec.analysis))


if __name__ == "__main__":
    run(main)
