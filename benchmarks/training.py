r"""How fast RL training is: rollouts and updates together, in responses a second.

Against TRL's GRPOTrainer on one model with random weights, the same prompts, group size, longest response and number of
optimiser steps, in alternation; medians over steps, each round's first left out. Needs `trl`.

    python benchmarks/training.py trl --threads 2 --rounds 3 --steps 5

What one step of a larger model is made of, in random weights of its architecture; on a GPU also its share of the peak,
counting 2 FLOPs a parameter and token for a forward pass and 4 for a backward pass:

    python benchmarks/training.py step --model smollm2-135m --threads 2
    python benchmarks/training.py step --model 1.5b --device cuda --precision bfloat16 --peak-tflops 989 \
        --micro-batch-tokens 16384

What an update alone spends its time on, on responses of full length, beside what matrix products alone would take:

    python benchmarks/training.py update --model smollm2-135m --prompts 1 --responses 4 --mini-batches 1 --tokens 1024
"""

import argparse
import copy
import dataclasses
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from shapes import QWEN2_1_5B, SMOLLM2_135M
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, PreTrainedModel

from tokenshift.config.models import Architecture, HeldOut, Rl
from tokenshift.config.problems import Prompt
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.policy import Policy
from tokenshift.problems.answers import last_boxed
from tokenshift.problems.grading import Grader
from tokenshift.rl.decoders import OwnDecoder
from tokenshift.rl.loop import train
from tokenshift.rl.rollout_batches import Group, Rollouts
from tokenshift.rl.trainer import Trainer, warmup_then_constant
from tokenshift.training.engine import initialise, join_world
from tokenshift.training.pretraining import build_model, character_tokenizer
from tokenshift.training.run import Run

TOKENIZER = character_tokenizer(["0123456789+-= \\boxed{}"])
PARTS = ("generation", "grading", "log_probs", "gradient", "optimiser", "evaluation")  # of a step
# Of PyTorch's operations, by their names.
KINDS = {
    "matrix products": r"::(mm|addmm|bmm|baddbmm|linear)$|mkldnn",
    "attention": "attention",
    "log-softmax": "log_softmax",
}
ARCHITECTURES = {"smollm2-135m": SMOLLM2_135M, "1.5b": QWEN2_1_5B}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["trl", "step", "update"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="rollout batches in a round, besides the first")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--responses", type=int, default=16, help="for each prompt")
    parser.add_argument("--mini-batches", type=int, default=4, help="optimiser steps for each rollout batch")
    parser.add_argument("--tokens", type=int, default=64, help="longest response")
    parser.add_argument("--micro-batch-tokens", type=int, default=1024, help="less pads less, more suits a GPU")
    parser.add_argument("--model", choices=ARCHITECTURES, default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--peak-tflops", type=float)
    return parser.parse_args()


def problems(count: int) -> pl.DataFrame:
    """Sums of one-digit numbers."""
    digits = np.random.default_rng(0).integers(1, 10, (count, 3))
    return pl.DataFrame(
        {
            "problem_id": [str(number) for number in range(count)],
            "problem": ["+".join(map(str, row)) + "=" for row in digits],
            "answer": [str(row.sum()) for row in digits],
            "answer_kind": ["math"] * len(digits),
            "metadata": ["{}"] * count,
        }
    )


def settings(args: argparse.Namespace, steps: int, evaluate: bool) -> Rl:
    """DAPO without dynamic sampling, which TRL lacks, and without the KL that is only reported."""
    return Rl(
        recipe="dapo",
        problems="sums",
        steps=steps,
        prompts_per_step=args.prompts,
        responses_per_prompt=args.responses,
        mini_batch_prompts=args.prompts // args.mini_batches,
        micro_batch_size=args.prompts * args.responses // args.mini_batches,
        micro_batch_tokens=args.micro_batch_tokens,
        generation_batch_size=args.prompts * args.responses,
        max_new_tokens=args.tokens,
        learning_rate=1e-6,
        precision=args.precision,
        dynamic_sampling_draws=None,
        overlong=None,
        report_base_kl=False,
        save_every=10**6,
        evaluation=HeldOut(problems="sums", every=1) if evaluate else None,
    )


def our_rows(
    model: PreTrainedModel, args: argparse.Namespace, steps: int, evaluate: bool = False, endless: bool = False
) -> list[dict]:
    """Metrics and times of each step after the first of a run that starts from `model`.

    With `evaluate` every step ends with an evaluation on as many problems and responses as it draws for training; if
    `endless`, all responses have full length.
    """
    rl = settings(args, steps + 1, evaluate)
    policy = Policy.of(copy.deepcopy(model), TOKENIZER)
    policy = dataclasses.replace(policy, stop_token_ids=()) if endless else policy
    engine = initialise(model, rl, lambda optimiser: warmup_then_constant(optimiser, 0))
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        rollouts = Rollouts(
            decoder=OwnDecoder(policy),
            tokenizer=TOKENIZER,
            grader=grader,
            problems=problems(max(256, args.prompts)),
            prompt=Prompt(template="{problem}", chat=False),
            problems_per_draw=args.prompts,
            responses_per_problem=args.responses,
            sampling=Sampling(1.0, 1.0, args.tokens),
            batch_size=rl.generation_batch_size,
            seed=0,
        )
        run = Run(folder, {"rl": rl.plain()}, engine, TOKENIZER, "", rl.save_every)
        heldout = dataclasses.replace(rollouts, problems=problems(args.prompts)) if evaluate else None
        train(Trainer(engine, None, rl), rollouts, heldout, run)
        reports = [
            [json.loads(line) for line in file.read_text().splitlines()]
            for file in (run.model_folder / "metrics.jsonl", run.root / "times.jsonl")
        ]
    return [metrics | times for metrics, times in zip(*reports, strict=True) if times["step"] > 1]


def trl_rows(model: PreTrainedModel, args: argparse.Namespace, steps: int) -> list[dict]:
    """The same for TRL: seconds and mean response length of each rollout batch after the first."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    ends, lengths = [], []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    def reward(completions: list[str], completion_ids: list[list[int]], answer: list[str], **_: object) -> list[float]:
        lengths.append(statistics.mean(map(len, completion_ids)))
        return [1.0 if last_boxed(text) == gold else -1.0 for text, gold in zip(completions, answer, strict=True)]

    rows = problems(max(256, args.prompts))
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=args.prompts * args.responses // args.mini_batches,
            steps_per_generation=args.mini_batches,
            num_generations=args.responses,
            max_completion_length=args.tokens,
            max_steps=(steps + 1) * args.mini_batches,
            loss_type="dapo",
            epsilon=0.2,
            epsilon_high=0.28,
            delta=10.0,
            beta=0.0,
            temperature=1.0,
            learning_rate=1e-6,
            lr_scheduler_type="constant",
            weight_decay=0.1,
            gradient_checkpointing=False,
            bf16=args.precision == "bfloat16",
            use_cpu=args.device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        data = Dataset.from_dict({"prompt": rows["problem"].to_list(), "answer": rows["answer"].to_list()})
        GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=data,
            processing_class=copy.deepcopy(TOKENIZER),
            callbacks=[Clock()],
        ).train()
    marks = ends[:: args.mini_batches]
    seconds = [later - earlier for earlier, later in pairwise(marks)]
    return [{"seconds": second, "response_length": length} for second, length in zip(seconds, lengths, strict=True)][1:]


def measured(name: str, args: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a rollout batch with its optimiser steps, and the mean length of its responses."""
    torch.set_num_threads(args.threads)
    if name == "tokenshift":
        join_world(args.device)  # not with TRL: in a process group it would wrap its model
    model = build_model(Architecture(), len(TOKENIZER), 0, 1, seed=0).to(args.device)
    if name == "trl":
        rows = trl_rows(model, args, args.steps)
        seconds = [row["seconds"] for row in rows]
    else:
        rows = our_rows(model, args, args.steps)
        seconds = [row["rollout_seconds"] + row["update_seconds"] for row in rows]
    return statistics.median(seconds), statistics.mean(row["response_length"] for row in rows)


def against_trl(args: argparse.Namespace) -> None:
    """Print responses a second of both, each in its own process, in alternation, and the ratio within each round."""
    speeds: dict[str, list[float]] = {"tokenshift": [], "trl": []}  # by round
    for number in range(args.rounds):
        for name in speeds if number % 2 == 0 else reversed(speeds):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, length = pool.apply(measured, (name, args))
            speeds[name].append(args.prompts * args.responses / seconds)
            print(f"round {number + 1}, {name}: {speeds[name][-1]:.1f} responses/s, {length:.1f} tokens each")
    ratios = [ours / theirs for ours, theirs in zip(*speeds.values(), strict=True)]
    print(f"tokenshift / trl: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")


def step_breakdown(args: argparse.Namespace) -> None:
    """Print the median seconds of a step's parts, and with a peak its share of it."""
    join_world(args.device)
    torch.set_num_threads(args.threads)
    config = copy.deepcopy(ARCHITECTURES[args.model])
    config.eos_token_id, config.pad_token_id = TOKENIZER.eos_token_id, TOKENIZER.pad_token_id
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, args.precision)).to(args.device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    rows = our_rows(model, args, args.steps, evaluate=True)
    rollout, update = (statistics.median(row[f"{part}_seconds"] for row in rows) for part in ("rollout", "update"))
    responses = args.prompts * args.responses
    tokens = responses * statistics.mean(row["response_length"] for row in rows)
    print(f"{args.model}, {parameters / 1e6:.0f} M parameters, {args.precision} on {args.device}")
    print(f"rollout {rollout:.2f} s, update {update:.2f} s; {responses / (rollout + update):.2f} responses/s")
    print(f"rollout {tokens / rollout:.0f} tokens/s, update {tokens / update:.0f} tokens/s")
    for part in PARTS:
        seconds = sorted(row[f"{part}_seconds"] for row in rows)
        print(f"  {part}: {statistics.median(seconds):.2f} s (from {seconds[0]:.2f} to {seconds[-1]:.2f})")
    if args.peak_tflops:
        # One forward pass for the old log-probabilities, one forward and one backward pass for the step.
        flops = 8 * parameters * tokens / update
        print(f"update: {flops / 1e12:.1f} TFLOP/s, {flops / 1e12 / args.peak_tflops:.1%} of the peak")


def full_groups(prompts: int, responses: int, tokens: int, vocabulary_size: int) -> list[Group]:
    """Groups of random responses of full length to prompts of 40 tokens, every other one correct."""
    rng = np.random.default_rng(0)
    correct = [number % 2 == 0 for number in range(responses)]
    return [
        Group(
            str(number),
            rng.integers(vocabulary_size, size=40).tolist(),
            rng.integers(vocabulary_size, size=(responses, tokens)).tolist(),
            correct,
        )
        for number in range(prompts)
    ]


def seconds_by_kind(trainer: Trainer, groups: list[Group]) -> tuple[float, dict[str, float]]:
    """Seconds of an update, and those of its operations by kind, as PyTorch's profiler counts them on the device."""
    device = trainer.engine.device.type

    def update() -> float:
        begun = time.perf_counter()
        trainer.update(groups)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    update()
    whole = update()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiled:
        update()
    by_kind = dict.fromkeys((*KINDS, "all else"), 0.0)
    for event in profiled.key_averages():
        seconds = (event.self_device_time_total if device == "cuda" else event.self_cpu_time_total) / 1e6
        kind = next((kind for kind, name in KINDS.items() if re.search(name, event.key)), "all else")
        by_kind[kind] += seconds if event.key.startswith("aten::") else 0.0
    return whole, by_kind


def product_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOPs a second of a product of two square matrices."""
    factors = torch.randn(2, size, size, device=device).to(dtype)
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        float((factors[0] @ factors[1])[0, 0])  # waits for it
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / min(seconds)


def update_breakdown(args: argparse.Namespace) -> None:
    """Print what an update spends its time on, and its share of the rate of matrix products."""
    join_world(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config, dtype = ARCHITECTURES[args.model], getattr(torch, args.precision)
    with torch.device(args.device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    rl = settings(args, 1, evaluate=False)
    engine = initialise(model, rl, lambda optimiser: warmup_then_constant(optimiser, 0))
    groups = full_groups(args.prompts, args.responses, args.tokens, config.vocab_size)
    seconds, by_kind = seconds_by_kind(Trainer(engine, None, rl), groups)
    print(f"{args.model}, {args.precision} on {args.device}: an update of {seconds:.1f} s")
    for kind, of_kind in by_kind.items():
        print(f"  {kind}: {of_kind / sum(by_kind.values()):.0%}")
    # One forward pass for the old log-probabilities, one forward and one backward pass.
    reached = 8 * parameters * args.prompts * args.responses * (args.tokens + 40) / seconds
    rate = product_rate(args.device, dtype, 2048)
    print(f"{reached / 1e9:.0f} GFLOP/s, where matrix products reach {rate / 1e9:.0f}: {reached / rate:.2f}")


def main() -> None:
    """Run the benchmark named on the command line."""
    args = parse()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    {"trl": against_trl, "step": step_breakdown, "update": update_breakdown}[args.what](args)


if __name__ == "__main__":
    main()
