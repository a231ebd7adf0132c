"""Decode with both models of a pair, switching where a criterion exceeds each threshold of a sweep."""

from pathlib import Path

from tokenshift.artifacts import scan_parquet
from tokenshift.command import run
from tokenshift.cross_sampling.rules import ALL, NONE, named
from tokenshift.cross_sampling.sweeps import criterion_values, run_sweep, sweep_parser, sweep_thresholds
from tokenshift.schemas import SCORES


def main() -> None:
    parser = sweep_parser(
        __doc__, "JSON with direction, criterion, seed, prompt, evaluation, compute, decoding, quantiles or thresholds"
    )
    parser.add_argument("--scores", type=Path, required=True, help="scores along the primary's own responses")
    args = parser.parse_args()
    criterion, thresholds = named(args.spec["criterion"]), args.spec["thresholds"]
    if thresholds is None:
        values = criterion_values(scan_parquet(args.scores, SCORES), criterion.name, args.spec["direction"])
        thresholds = sweep_thresholds(values, args.spec["quantiles"], criterion)
    ordered = [NONE, *sorted(thresholds, reverse=True), ALL]
    run_sweep(args, criterion, {threshold: threshold for threshold in ordered})


if __name__ == "__main__":
    run(main)
