"""Compare both models of a pair at every position of given responses."""

import argparse
from pathlib import Path

import torch

from tokenshift.artifacts import write_parquet_parts
from tokenshift.command import run
from tokenshift.config.specs import ScoreSpec
from tokenshift.policies.policy import load_pair
from tokenshift.schemas import SCORES
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.scoring.trajectories import read_trajectory
from tokenshift.shards import add_shard_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=ScoreSpec.parse, required=True, help="JSON of a ScoreSpec")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--responses", type=Path, required=True, help="Parquet file of rollouts or cross-samples")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of scores")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec = args.spec
    torch.set_num_threads(spec.compute.threads)
    responses = read_trajectory(args.responses, spec.trajectory)
    base, tuned = load_pair(args.base, args.tuned, spec.compute)
    work = Work.of(spec.batch_tokens, spec.chunk_memory_mb, base)
    tables = score(base, tuned, responses, spec.truncation, spec.compared, work, tuple(args.shard), name="scores")
    write_parquet_parts(args.output, tables, SCORES, spec.plain(), ("torch", "transformers"))


if __name__ == "__main__":
    run(main)
