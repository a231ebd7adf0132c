"""Tiny RL runs, shared by the tests of rl and of what interrupts them."""

import copy
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import Qwen2ForCausalLM

from tiny_training import EOS, OPTIMISATION, start, tiny_model
from tokenshift.config.models import Rl
from tokenshift.config.problems import Prompt
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.policy import Policy
from tokenshift.problems.grading import Grader
from tokenshift.rl.decoders import OwnDecoder
from tokenshift.rl.loop import train
from tokenshift.rl.rollout_batches import Group, Rollouts
from tokenshift.rl.trainer import Trainer
from tokenshift.training.batches import pad
from tokenshift.training.engine import optimiser_step
from tokenshift.training.pretraining import character_tokenizer
from tokenshift.training.run import Run
from tokenshift.training.supervised import negative_log_likelihood

TOKENIZER = character_tokenizer(["\\boxed{}0123456789?"])
PROBLEMS = pl.DataFrame(
    {
        "problem_id": ["p0", "p1", "p2"],
        "problem": ["3?", "5?", "7?"],
        "answer": ["3", "3", "3"],
        "answer_kind": ["math"] * 3,
        "metadata": ["{}"] * 3,
    }
)
PROMPT = Prompt(template="{problem}", chat=False)
SMALL = {"prompts_per_step": 2, "mini_batch_prompts": 1, "responses_per_prompt": 8, "weight_decay": 0.0}
SMALL |= {"learning_rate": 3e-3, "max_new_tokens": 12, "overlong": None, "entropy_bonus": 0.0, "steps": 8}


def settings(recipe: str, **overrides) -> Rl:
    given = {
        "problems": "train",
        "steps": 8,
        "prompts_per_step": 4,
        "mini_batch_prompts": 2,
        "responses_per_prompt": 4,
        "micro_batch_size": 5,
        "warmup_steps": 0,
        "max_new_tokens": 10,
        "overlong": {"buffer": 4, "factor": 0.5},
        "entropy_bonus": 0.01,
    }
    return Rl(recipe=recipe, **(OPTIMISATION.plain() | given | overrides))


def random_groups() -> list[Group]:
    rng = np.random.default_rng(0)
    groups = []
    for number in range(4):
        prompt = rng.integers(2, 13, rng.integers(1, 6)).tolist()
        responses = [[*rng.integers(2, 13, rng.integers(1, 9)).tolist(), EOS] for _ in range(4)]
        groups.append(Group(str(number), prompt, responses, [True, False, number > 1, False]))
    return groups


def guesser(**architecture: int) -> Qwen2ForCausalLM:
    """A model that answers 3 or 4, about as often."""
    engine = start(tiny_model(len(TOKENIZER), **architecture), weight_decay=0.0)
    texts = [f"{problem}\\boxed{{{answer}}}" for problem in PROBLEMS["problem"] for answer in (3, 4)]
    sequences = [[*TOKENIZER(text).input_ids, EOS] for text in texts]
    batch = pad(sequences, [2] * len(sequences), engine.device)
    for _ in range(40):
        optimiser_step(engine, [batch], lambda given: negative_log_likelihood(engine, given, int(given.mask.sum())))
    model = tiny_model(len(TOKENIZER), **architecture)
    model.load_state_dict(engine.module.model.state_dict())
    return model


def rollouts_of(model: torch.nn.Module, grader: Grader, rl: Rl) -> Rollouts:
    return Rollouts(
        decoder=OwnDecoder(Policy.of(model, TOKENIZER)),
        tokenizer=TOKENIZER,
        grader=grader,
        problems=PROBLEMS,
        prompt=PROMPT,
        problems_per_draw=rl.prompts_per_step,
        responses_per_problem=rl.responses_per_prompt,
        sampling=Sampling(rl.temperature, rl.top_p, rl.max_new_tokens),
        batch_size=rl.generation_batch_size,
        seed=5,
    )


def train_guesser(folder: Path, model: Qwen2ForCausalLM, rl: Rl) -> None:
    """Train a copy of `model`; the result is in `folder`, the state of a run that failed beside it."""
    trained, twin = copy.deepcopy(model), copy.deepcopy(model)
    initial = copy.deepcopy(model).eval() if rl.kl_coefficient > 0 or rl.report_base_kl else None
    engine = start(trained, rl)
    with (
        Grader() as grader,
        Run(folder.with_suffix(".state"), {"rl": rl.plain()}, engine, TOKENIZER, "a card", rl.save_every) as training,
    ):
        rollouts = rollouts_of(twin, grader, rl)
        train(Trainer(engine, initial, rl), rollouts, rollouts if rl.evaluation else None, training)
        training.publish(folder)
