"""Compare each checkpoint of a training run with its base along the tuned model's responses."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet_parts
from tokenshift.command import run
from tokenshift.config.specs import CheckpointScoresSpec
from tokenshift.policies.conditioning import own_prompts
from tokenshift.policies.policy import load_policy
from tokenshift.policies.tensor_parallel import output_of
from tokenshift.policies.vocabulary import shared_ids
from tokenshift.schemas import CHECKPOINT_SCORES, PROBLEMS, ROLLOUTS
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.shards import add_shard_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=CheckpointScoresSpec.parse, required=True, help="JSON of a CheckpointScoresSpec")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model with its checkpoints")
    parser.add_argument("--vocabulary", type=Path, required=True, help="Parquet file of the pair's vocabulary")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of the problems answered")
    parser.add_argument("--rollouts", type=Path, required=True, help="Parquet file with the tuned model's responses")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of JS by step and position")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec = args.spec
    torch.set_num_threads(spec.compute.threads)
    rollouts = read_parquet(args.rollouts, ROLLOUTS)
    problems, ids = read_parquet(args.problems, PROBLEMS), shared_ids(args.vocabulary)
    prompts = own_prompts(spec.conditioning, spec.prompts, problems, args.base, args.tuned)
    checkpoints = {step: args.tuned / "checkpoints" / f"step-{step:06d}" for step in spec.steps}
    models = [args.base, *checkpoints.values()]
    base = load_policy(args.base, spec.prompts.base, spec.compute, beside=models)
    work = Work.of(spec.batch_tokens, spec.chunk_memory_mb, base)

    def by_step() -> Iterator[pa.Table]:
        for step, folder in checkpoints.items():
            checkpoint = load_policy(folder, spec.prompts.tuned, spec.compute, place=1, beside=models)
            tables = score(
                base,
                checkpoint,
                rollouts,
                spec.truncation,
                spec.compared,
                work,
                tuple(args.shard),
                name=f"step {step}",
                shared_ids=ids,
                own_prompts=prompts,
            )
            for scores in tables:
                stepped = scores.append_column("step", pa.array([step] * len(scores), pa.int32()))
                yield stepped.select(CHECKPOINT_SCORES.names)

    with output_of(args.output) as output:
        write_parquet_parts(output, by_step(), CHECKPOINT_SCORES, spec.plain(), ("torch", "transformers"))


if __name__ == "__main__":
    run(main)
