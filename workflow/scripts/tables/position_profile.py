"""Tabulate JS by position along the response."""

from tokenshift.command import run
from tokenshift.config.specs import PositionProfileSpec
from tokenshift.tables.files import table_parser, write_table
from tokenshift.tables.position_profile import table

KINDS = ("scores", "rollouts", "cross_samples")


def main() -> None:
    args = table_parser(__doc__, PositionProfileSpec, *KINDS, may_be_empty=True).parse_args()
    paths = {kind: getattr(args, kind) for kind in KINDS}
    write_table(args, table(paths, args.spec.pairs, args.spec.analysis))


if __name__ == "__main__":
    run(main)
