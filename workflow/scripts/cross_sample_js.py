"""Decode with both models of a pair, switching where their JS divergence exceeds each threshold of a sweep."""

from pathlib import Path

from tokenshift.artifacts import scan_parquet
from tokenshift.command import run
from tokenshift.cross_sampling import ALL, NONE, named, sweep_thresholds
from tokenshift.schemas import SCORES
from tokenshift.sweeps import run_sweep, sweep_parser


def main() -> None:
    parser = sweep_parser(__doc__, "JSON with direction, seed, prompt, evaluation, compute, quantiles or thresholds")
    parser.add_argument("--scores", type=Path, required=True, help="scores along the primary's own responses")
    args = parser.parse_args()
    thresholds = args.spec["thresholds"]
    if thresholds is None:
        js_values = scan_parquet(args.scores, SCORES).select("js").collect()["js"].to_numpy()
        thresholds = sweep_thresholds(js_values, args.spec["quantiles"])
    ordered = [NONE, *sorted(thresholds, reverse=True), ALL]
    run_sweep(args, named("js"), {threshold: threshold for threshold in ordered})


if __name__ == "__main__":
    run(main)
