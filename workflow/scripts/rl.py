"""Train a model by reinforcement learning with verifiable rewards."""

import argparse
import json
from pathlib import Path

import torch

from tokenshift.artifacts import atomic_folder, read_parquet
from tokenshift.command import run
from tokenshift.generation import Policy
from tokenshift.models import load_model, load_tokenizer
from tokenshift.rl.rollout_batches import Rollouts
from tokenshift.rl.trainer import Trainer, train, warmup_then_constant
from tokenshift.sampling import Sampling
from tokenshift.schemas import PROBLEMS
from tokenshift.training.engine import initialise, join_world
from tokenshift.verification import Grader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=json.loads, required=True, help="JSON with rl, seed, prompt, compute")
    parser.add_argument("--base", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="model folder")
    args = parser.parse_args()
    spec, settings, device = args.spec, args.spec["rl"], args.spec["compute"]["device"]
    join_world(device)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    tokenizer = load_tokenizer(args.base)
    model = load_model(args.base, settings["precision"], device)
    initial = load_model(args.base, settings["precision"], device) if settings["kl_coefficient"] > 0 else None
    engine = initialise(model, settings, lambda optimiser: warmup_then_constant(optimiser, settings["warmup_steps"]))
    with Grader() as grader, atomic_folder(args.output) as folder:
        rollouts = Rollouts(
            policy=Policy.of(engine.module, tokenizer),
            tokenizer=tokenizer,
            grader=grader,
            problems=read_parquet(args.problems, PROBLEMS),
            **spec["prompt"],
            prompts=settings["prompts_per_step"],
            responses_per_prompt=settings["responses_per_prompt"],
            sampling=Sampling(settings["temperature"], settings["top_p"], settings["max_new_tokens"]),
            batch_size=settings["generation_batch_size"],
            seed=spec["seed"],
        )
        train(Trainer(engine, initial, settings), rollouts, folder)


if __name__ == "__main__":
    run(main)
