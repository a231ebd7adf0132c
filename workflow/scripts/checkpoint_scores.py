"""Compare each checkpoint of a training run with its base along the tuned model's responses."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet_parts
from tokenshift.command import run
from tokenshift.distributions.comparison import Settings
from tokenshift.policies.policy import load_policy
from tokenshift.schemas import CHECKPOINT_SCORES, ROLLOUTS
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.shards import add_shard_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--spec",
        type=json.loads,
        required=True,
        help="JSON with pair, set, steps, truncation, ablation, top_k, list_minimum, batch_tokens, chunk_memory_mb, "
        "compute",
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model with its checkpoints")
    parser.add_argument("--rollouts", type=Path, required=True, help="Parquet file with the tuned model's responses")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of JS by step and position")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec = args.spec
    torch.set_num_threads(args.threads)
    rollouts = read_parquet(args.rollouts, ROLLOUTS)
    base = load_policy(args.base, spec["compute"])
    settings, work = Settings.of(spec), Work.of(spec, base)

    def tables() -> Iterator[pa.Table]:
        for step in spec["steps"]:
            checkpoint = load_policy(args.tuned / "checkpoints" / f"step-{step:06d}", spec["compute"], place=1)
            for scores in score(base, checkpoint, rollouts, settings, work, tuple(args.shard), name=f"step {step}"):
                stepped = scores.append_column("step", pa.array([step] * len(scores), pa.int32()))
                yield stepped.select(CHECKPOINT_SCORES.names)

    write_parquet_parts(args.output, tables(), CHECKPOINT_SCORES, spec, ("torch", "transformers"))


if __name__ == "__main__":
    run(main)
