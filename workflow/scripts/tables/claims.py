"""Measure the paper's claims and judge each by its interval."""

from tokenshift.command import run
from tokenshift.config.specs import ClaimsSpec
from tokenshift.tables.claims import table
from tokenshift.tables.files import table_parser, write_table

KINDS = ("scores", "cross_samples", "checkpoint_scores", "rollouts", "models")


def main() -> None:
    args = table_parser(__doc__, ClaimsSpec, *KINDS, may_be_empty=True).parse_args()
    paths = {kind: getattr(args, kind) for kind in KINDS}
    spec = args.spec
    write_table(args, table(paths, spec.control_of, spec.training, spec.weighted, spec.analysis))


if __name__ == "__main__":
    run(main)
