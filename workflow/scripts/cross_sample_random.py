"""Decode with both models of a pair, switching at random, matched to the budget of a js sweep."""

from pathlib import Path

import torch

from tokenshift.artifacts import read_parquet, scan_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import ControlSpec
from tokenshift.cross_sampling.controls import Budgets, budgets, probabilities
from tokenshift.cross_sampling.sweeps import run_sweep, sweep_parser
from tokenshift.policies.tensor_parallel import output_of
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.criteria import COIN
from tokenshift.schemas import CROSS_SAMPLES, PROBLEMS
from tokenshift.shards import shard


def main() -> None:
    parser = sweep_parser(__doc__, ControlSpec)
    parser.add_argument("--matched", type=Path, required=True, help="the js sweep whose budget is matched")
    parser.add_argument(
        "--pilot", type=Path, nargs="*", required=True, help="the run that calibrates effective controls"
    )
    args = parser.parse_args()
    spec, positions = args.spec, args.spec.evaluation.max_new_tokens
    torch.set_num_threads(spec.compute.threads)

    def spent(path: Path) -> Budgets:
        return budgets(
            scan_parquet(path, CROSS_SAMPLES).select("threshold", "switched", "replaced").collect(), positions
        )

    pilot = spent(args.pilot[0]) if args.pilot else None
    thresholds = probabilities(CONTROLS[spec.control], spent(args.matched), pilot, positions)
    problems = shard(read_parquet(args.problems, PROBLEMS), *args.shard)
    table = run_sweep(spec, args, problems, COIN, thresholds)
    with output_of(args.output) as output:
        write_parquet(output, table, CROSS_SAMPLES, spec.plain(), ("torch", "transformers", "math-verify"))


if __name__ == "__main__":
    run(main)
