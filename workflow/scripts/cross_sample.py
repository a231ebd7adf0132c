"""Decode with both models of a pair, switching where a criterion exceeds each threshold of a sweep."""

from pathlib import Path

import torch

from tokenshift.artifacts import read_parquet, scan_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import CrossSampleSpec
from tokenshift.cross_sampling.sweeps import (
    criterion_values,
    require_all_problems,
    run_sweep,
    sweep_parser,
    sweep_thresholds,
)
from tokenshift.policies.tensor_parallel import output_of
from tokenshift.registries.criteria import ALL, NONE, criterion
from tokenshift.schemas import CROSS_SAMPLES, PROBLEMS, SCORES, VOCABULARY
from tokenshift.shards import shard


def main() -> None:
    parser = sweep_parser(__doc__, CrossSampleSpec)
    parser.add_argument("--scores", type=Path, required=True, help="scores along the primary's own responses")
    args = parser.parse_args()
    spec = args.spec
    torch.set_num_threads(spec.compute.threads)
    chosen, thresholds = criterion(spec.criterion), spec.thresholds
    all_problems = read_parquet(args.problems, PROBLEMS)
    if thresholds is None:
        scores = scan_parquet(args.scores, SCORES)
        all_shared = read_parquet(args.vocabulary, VOCABULARY)["shared"].all()
        require_all_problems(scores, all_problems, all_shared, args.scores)
        values = criterion_values(scores, chosen, spec.direction)
        thresholds = sweep_thresholds(values, spec.quantiles, chosen)
    ordered = [NONE, *sorted(thresholds, reverse=True), ALL]
    problems = shard(all_problems, *args.shard)
    table = run_sweep(spec, args, problems, chosen, {threshold: threshold for threshold in ordered})
    with output_of(args.output) as output:
        write_parquet(output, table, CROSS_SAMPLES, spec.plain(), ("torch", "transformers", "math-verify"))


if __name__ == "__main__":
    run(main)
