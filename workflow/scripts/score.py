"""Compare both models of a pair at every position of given responses."""

import argparse
from pathlib import Path

import torch

from tokenshift.artifacts import read_parquet, write_parquet_parts
from tokenshift.command import run
from tokenshift.config.specs import ScoreSpec
from tokenshift.policies.conditioning import own_prompts
from tokenshift.policies.policy import load_pair
from tokenshift.policies.tensor_parallel import output_of
from tokenshift.policies.vocabulary import shared_ids
from tokenshift.schemas import PROBLEMS, SCORES
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.scoring.trajectories import read_trajectory
from tokenshift.shards import add_shard_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=ScoreSpec.parse, required=True, help="JSON of a ScoreSpec")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--vocabulary", type=Path, required=True, help="Parquet file of the pair's vocabulary")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of the problems answered")
    parser.add_argument("--responses", type=Path, required=True, help="Parquet file of rollouts or cross-samples")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of scores")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec = args.spec
    torch.set_num_threads(spec.compute.threads)
    responses = read_trajectory(args.responses, spec.trajectory)
    problems = read_parquet(args.problems, PROBLEMS)
    prompts = own_prompts(spec.conditioning, spec.prompts, problems, args.base, args.tuned)
    base, tuned = load_pair(args.base, args.tuned, spec.prompts, spec.compute)
    tables = score(
        base,
        tuned,
        responses,
        spec.truncation,
        spec.compared,
        Work.of(spec.batch_tokens, spec.chunk_memory_mb, base),
        tuple(args.shard),
        name="scores",
        shared_ids=shared_ids(args.vocabulary),
        own_prompts=prompts,
    )
    with output_of(args.output) as output:
        write_parquet_parts(output, tables, SCORES, spec.plain(), ("torch", "transformers"))


if __name__ == "__main__":
    run(main)
