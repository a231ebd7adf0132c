"""Compare each checkpoint of a training run with its base along the tuned model's responses."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.command import run
from tokenshift.comparison import Settings
from tokenshift.generation import Policy
from tokenshift.models import load_model, load_tokenizer
from tokenshift.schemas import CHECKPOINT_SCORES, ROLLOUTS
from tokenshift.scoring import positions_within, score
from tokenshift.shards import add_shard_argument, shard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--spec",
        type=json.loads,
        required=True,
        help="JSON with steps, comparison, batch_tokens, chunk_memory_mb, compute",
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model with its checkpoints")
    parser.add_argument("--rollouts", type=Path, required=True, help="Parquet file with the tuned model's responses")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of JS by step and position")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec, compute = args.spec, args.spec["compute"]
    torch.set_num_threads(args.threads)

    def policy(folder: Path) -> Policy:
        return Policy.of(load_model(folder, compute["dtype"], compute["device"]), load_tokenizer(folder))

    base = policy(args.base)
    rollouts = shard(read_parquet(args.rollouts, ROLLOUTS), *args.shard)
    settings = Settings(**spec["comparison"])
    chunk_positions = positions_within(spec["chunk_memory_mb"], base.vocabulary_size)
    parts = []
    for step in spec["steps"]:
        checkpoint = policy(args.tuned / "checkpoints" / f"step-{step:06d}")
        scores = score(base, checkpoint, rollouts, settings, spec["batch_tokens"], chunk_positions, name=f"step {step}")
        parts.append(scores.append_column("step", pa.array([step] * len(scores), pa.int32())))
    table = pa.concat_tables(parts).select(CHECKPOINT_SCORES.names)
    write_parquet(args.output, table, CHECKPOINT_SCORES, spec, ("torch", "transformers"))


if __name__ == "__main__":
    run(main)
