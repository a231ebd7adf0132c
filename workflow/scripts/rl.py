"""Train a model by reinforcement learning with verifiable rewards."""

import argparse
import copy
import dataclasses
from pathlib import Path

import polars as pl
import torch

from tokenshift.artifacts import read_parquet
from tokenshift.command import run
from tokenshift.config.specs import RlSpec
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.policies.policy import Policy
from tokenshift.policies.rollouts import prompt_batch
from tokenshift.problems.grading import Grader
from tokenshift.provenance.hashes import file_hash, folder_hash
from tokenshift.rl.decoders import OwnDecoder, VllmDecoder
from tokenshift.rl.loop import train
from tokenshift.rl.rollout_batches import Rollouts
from tokenshift.rl.trainer import Trainer, warmup_then_constant
from tokenshift.schemas import PROBLEMS
from tokenshift.training.engine import initialise, join_world
from tokenshift.training.outputs import model_card
from tokenshift.training.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=RlSpec.parse, required=True, help="JSON of an RlSpec")
    parser.add_argument("--base", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--heldout", type=Path, nargs="?", help="Parquet file of the problems of rl.evaluation")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped run goes on from")
    parser.add_argument("--local_rank", type=int, help="given by the deepspeed launcher; read from the environment")
    parser.add_argument("--output", type=Path, required=True, help="model folder")
    args = parser.parse_args()
    spec, settings, device = args.spec, args.spec.rl, args.spec.compute.device
    join_world(device)
    torch.set_num_threads(spec.compute.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    tokenizer = load_tokenizer(args.base)
    model = load_model(args.base, settings.precision, device)
    watched = settings.kl_coefficient > 0 or settings.report_base_kl
    initial = load_model(args.base, settings.precision, device) if watched else None
    policy = Policy.of(model, tokenizer, spec.prompt.stops)
    twin = copy.deepcopy(model) if settings.engine == "tokenshift" else None  # before there are DeepSpeed's hooks
    engine = initialise(model, settings, lambda optimiser: warmup_then_constant(optimiser, settings.warmup_steps))
    problems = read_parquet(args.problems, PROBLEMS)
    heldout_problems = read_parquet(args.heldout, PROBLEMS) if settings.evaluation else problems.clear()
    if twin is not None:
        decoder = OwnDecoder(dataclasses.replace(policy, model=twin))
    else:
        prompts = prompt_batch(pl.concat([problems, heldout_problems]), 1, tokenizer, spec.prompt)
        decoder = VllmDecoder.beside(policy, args.base, prompts, spec)
    inputs = {"base": folder_hash(args.base), "problems": file_hash(args.problems)}
    depends_on = spec.plain() | {"inputs": inputs}
    card = model_card(spec, "rl", args.base.name, args.problems.stem)
    with (
        Grader() as grader,
        Run(args.state, depends_on, engine, tokenizer, card, settings.save_every) as training,
    ):
        rollouts = Rollouts(
            decoder=decoder,
            tokenizer=tokenizer,
            grader=grader,
            problems=problems,
            prompt=spec.prompt,
            problems_per_draw=settings.prompts_per_step,
            responses_per_problem=settings.responses_per_prompt,
            sampling=Sampling.of(settings),
            batch_size=settings.generation_batch_size,
            seed=spec.seed,
        )
        heldout, evaluation = None, settings.evaluation
        if evaluation is not None:
            heldout = dataclasses.replace(
                rollouts,
                problems=heldout_problems,
                responses_per_problem=evaluation.samples,
                sampling=Sampling(evaluation.temperature, evaluation.top_p, settings.max_new_tokens),
            )
        train(Trainer(engine, initial, settings), rollouts, heldout, training)
        training.publish(args.output)


if __name__ == "__main__":
    run(main)
