"""Decode with both models of a pair, switching at random, matched to the budget of a js sweep."""

from pathlib import Path

from tokenshift.artifacts import scan_parquet
from tokenshift.command import run
from tokenshift.cross_sampling.controls import Budgets, budgets, probabilities
from tokenshift.cross_sampling.rules import named
from tokenshift.cross_sampling.sweeps import run_sweep, sweep_parser
from tokenshift.schemas import CROSS_SAMPLES


def main() -> None:
    parser = sweep_parser(__doc__, "JSON with direction, control, seed, prompt, evaluation, compute, decoding")
    parser.add_argument("--matched", type=Path, required=True, help="the js sweep whose budget is matched")
    parser.add_argument(
        "--pilot", type=Path, nargs="*", required=True, help="the run that calibrates effective controls"
    )
    args = parser.parse_args()
    positions = args.spec["evaluation"]["max_new_tokens"]

    def spent(path: Path) -> Budgets:
        return budgets(
            scan_parquet(path, CROSS_SAMPLES).select("threshold", "switched", "replaced").collect(), positions
        )

    pilot = spent(args.pilot[0]) if args.pilot else None
    run_sweep(args, named("random"), probabilities(args.spec["control"], spent(args.matched), pilot, positions))


if __name__ == "__main__":
    run(main)
