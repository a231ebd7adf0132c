"""Whether a GPU computes what a CPU does, and how fast: the checks first, then the figures of each stage.

    make gpu

takes at most six minutes on one GPU, writes benchmarks/gpu.md with the card's name, and ends with status 1 where a part
fails. No part is begun after five minutes. Models have random weights, made on the GPU. Without a GPU it says so.

    python benchmarks/gpu.py --rehearse

does the same with tiny models on the CPU, where the figures mean nothing, to try the script itself.
"""

import argparse
import copy
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch
import transformers
from shapes import QWEN2_1_5B, QWEN2_7B, TINY, random_pair
from transformers import AutoModelForCausalLM, PretrainedConfig

from tokenshift.config.measurements import Compared, Scoring, Truncation
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.cross_sampling.resources import Resources
from tokenshift.distributions.reduction import reduce_vocabulary
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies import captured
from tokenshift.policies.generation import generate
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import ALL, CRITERIA, NONE
from tokenshift.rl.trainer import Trainer, warmup_then_constant
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.training.engine import initialise, join_world
from training import PARTS, TOKENIZER, full_groups, our_rows, product_rate, seconds_by_kind, settings

REPORT = Path(__file__).with_suffix(".md")
LAST_BEGUN = 300  # seconds after which no part is begun
SETTINGS = (Truncation(temperature=1.0, top_p=0.7), Compared())


@dataclass(frozen=True)
class Sizes:
    """What is measured, and on which device."""

    device: str
    dtype: torch.dtype
    small: PretrainedConfig
    large: PretrainedConfig
    prompt: int
    response: int
    rows: tuple[int, ...]
    shapes: int  # of random logits
    product: int  # rows and columns of the matrices by which arithmetic is measured
    steps: tuple[int, int]  # of decoding: what is told is of the difference, without prefilling and capturing
    positions: tuple[int, int]  # of cross-samples, likewise


ON_GPU = Sizes("cuda", torch.bfloat16, QWEN2_1_5B, QWEN2_7B, 128, 1024, (1, 4, 32, 128), 100, 8192, (32, 96), (64, 256))
REHEARSED = Sizes("cpu", torch.float32, TINY, TINY, 8, 16, (1, 4), 5, 64, (2, 6), (8, 16))


def main() -> int:
    """Run every part; the status to end with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="tiny models on the CPU, no report")
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        print("No GPU here: nothing to check or measure.")
        return 0
    sizes = REHEARSED if args.rehearse else ON_GPU
    started, lines, failed = time.perf_counter(), [], 0
    parts = [
        check_kernels,
        check_models,
        scoring,
        generation_small,
        generation_large,
        two_policies,
        training_step,
        update_kinds,
    ]
    for part in parts:
        if time.perf_counter() - started > LAST_BEGUN:
            lines.append(f"Not begun after {LAST_BEGUN} s: {part.__name__}.\n")
            continue
        begun = time.perf_counter()
        try:
            lines += [*part(sizes), ""]
        except Exception as error:  # the other parts are measured all the same
            failed += 1
            lines += [f"**{part.__name__} failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}**", ""]
        print(f"{part.__name__}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        gc.collect()
        if sizes.device == "cuda":
            torch.cuda.empty_cache()
    text = f"# On a GPU\n\n{_machine(sizes)} `make gpu`, {time.perf_counter() - started:.0f} s.\n\n" + "\n".join(lines)
    print(text)
    if not args.rehearse:
        REPORT.write_text(text.rstrip() + "\n", encoding="utf-8")
    return min(failed, 1)


def _machine(sizes: Sizes) -> str:
    name = torch.cuda.get_device_name() if sizes.device == "cuda" else "A CPU, tiny models (rehearsal)"
    return f"{name}, PyTorch {torch.__version__}, transformers {transformers.__version__}, {sizes.dtype}."


def check_kernels(sizes: Sizes) -> list[str]:
    """The reductions over the vocabulary on random shapes against float64."""
    random, worst = np.random.default_rng(0), dict.fromkeys(("JS", "KL", "entropy"), 0.0)
    for _ in range(sizes.shapes):
        n, size = int(random.integers(1, 65)), int(2 ** random.uniform(1, 17.3))
        dtype = (torch.float32, torch.bfloat16, torch.float16)[random.integers(3)]
        first = 4 * torch.randn(n, size)
        blocks = [block.to(dtype) for block in (first, first + random.uniform(0, 2) * torch.randn(n, size))]
        temperatures = (1.0, float(random.uniform(0.3, 2)))
        ours = reduce_vocabulary(*(block.to(sizes.device) for block in blocks), temperatures, 10)
        exact = reduce_vocabulary(*(block.double() for block in blocks), temperatures, 10)
        for name, columns in (
            ("JS", (ours.js, exact.js)),
            ("KL", (ours.kl_base_tuned, exact.kl_base_tuned)),
            ("KL", (ours.kl_tuned_base, exact.kl_tuned_base)),
            ("entropy", (ours.base.entropy, exact.base.entropy)),
        ):
            worst[name] = max(worst[name], (columns[0].cpu().double() - columns[1]).abs().max().item())
    assert worst["JS"] < 2e-6, worst
    assert max(worst["KL"], worst["entropy"]) < 2e-5, worst
    told = ", ".join(f"{name} {error:.0e}" for name, error in worst.items())
    return [f"Reductions of {sizes.shapes} random shapes, largest error against float64: {told}."]


@torch.inference_mode()
def check_models(sizes: Sizes) -> list[str]:
    """Rollouts, cross-samples and scores of tiny models against those on the CPU; are passes captured as graphs?"""
    told, captures, capture = [], [], captured.cuda_graph
    captured.cuda_graph = lambda function, pool: (captures.append(None), capture(function, pool))[1]
    for dtype in (torch.float64, torch.float32):
        found = []
        for device in ("cpu", sizes.device):
            pair = random_pair(TINY, dtype, "cpu")
            pair = [Policy(policy.model.to(device), (), policy.vocabulary_size) for policy in pair]
            prompts, noise, coins = asked(TINY.vocab_size, 12, 6, 24)
            sampling = Sampling(1.0, 0.9, 24)
            rollouts = generate(pair[0], prompts, noise, sampling, 8)
            task = SweepTask(prompts, noise, coins, CRITERIA["js"], [NONE, 0.1, 0.02, ALL], sampling)
            sweep, _ = cross_sample(*pair, task, Resources(8, 2000, 4, 1e-9))
            scored = pa.concat_tables(score(*pair, as_rollouts(prompts, rollouts), *SETTINGS, Work(200, 16)))
            found.append(
                (rollouts, [[sample.response for sample in level] for level in sweep], scored["js"].to_numpy())
            )
        (rollouts, sweep, js), (on_gpu, swept, js_there) = found
        assert rollouts == on_gpu, f"rollouts differ in {dtype}"
        assert sweep == swept, f"cross-samples differ in {dtype}"
        assert abs(js - js_there).max() < 1e-5, f"scores differ in {dtype}"
        told.append(str(dtype).removeprefix("torch."))
    captured.cuda_graph = capture
    assert captures or sizes.device == "cpu", "no forward pass was captured as a CUDA graph"
    return [
        f"Tiny models in {' and '.join(told)}: rollouts and cross-samples as on the CPU, scores within 1e-5; "
        f"{len(captures)} passes captured as CUDA graphs."
    ]


@torch.inference_mode()
def scoring(sizes: Sizes) -> list[str]:
    """All of scoring at the default settings against two forward passes with heads at the response positions."""
    pair = random_pair(sizes.large, sizes.dtype, sizes.device)
    n, vocabulary = 8, sizes.large.vocab_size
    tokens = torch.randint(vocabulary, (n, sizes.prompt + sizes.response), generator=torch.Generator().manual_seed(0))
    rollouts = as_rollouts(tokens[:, : sizes.prompt].tolist(), tokens[:, sizes.prompt :].tolist())
    work = Work.of(Scoring().batch_tokens, None, pair[0])
    given = tokens.to(sizes.device)

    def floor() -> None:
        for policy in pair:
            hidden = policy.model.get_decoder()(given[:, :-1]).last_hidden_state[:, sizes.prompt - 1 :]
            for part in hidden.flatten(0, 1).split(1024):
                policy.model.get_output_embeddings()(part)

    def ours() -> None:
        for _ in score(*pair, rollouts, *SETTINGS, work):
            pass

    memory = {}
    for function in (floor, ours):
        function()
        memory[function] = peak_memory(sizes, function)
    times = {floor: [], ours: []}
    for _ in range(3):
        for function, seconds in times.items():
            seconds.append(timed(sizes, function))
    least, most = (statistics.median(times[function]) for function in (floor, ours))
    return [
        f"Scoring {n} responses of {sizes.prompt} + {sizes.response} tokens, {work.chunk_positions} positions a chunk: "
        f"{most:.3f} s, floor {least:.3f} s, floor / ours {least / most:.2f}, "
        f"{n * sizes.response / most:,.0f} tokens a second; "
        f"{(memory[ours] - memory[floor]) / 1e6:,.0f} MB above the floor."
    ]


def generation_small(sizes: Sizes) -> list[str]:
    """Decoding with the smaller model."""
    return generation(sizes, sizes.small)


def generation_large(sizes: Sizes) -> list[str]:
    """Decoding with the larger model."""
    return generation(sizes, sizes.large)


@torch.inference_mode()
def generation(sizes: Sizes, config: PretrainedConfig) -> list[str]:
    """Milliseconds of a decoding step beside transformers' own generate."""
    policy = random_pair(config, sizes.dtype, sizes.device)[0]
    few, many = sizes.steps
    lines = ["| rows | `generate`, ms a step | transformers' generate |", "|---|---|---|"]
    for rows in sizes.rows:
        prompts, noise, _ = asked(config.vocab_size, rows, sizes.prompt, many)
        given = torch.tensor(prompts, device=sizes.device)

        def ours(steps: int, prompts: list = prompts, noise: np.ndarray = noise, rows: int = rows) -> None:
            generate(policy, prompts, noise, Sampling(1.0, 0.7, steps), rows)

        def theirs(steps: int, given: torch.Tensor = given) -> None:
            length = {"max_new_tokens": steps, "min_new_tokens": steps}
            sampling = {"do_sample": True, "top_p": 0.7, "pad_token_id": 0}
            policy.model.generate(given, attention_mask=torch.ones_like(given), **length, **sampling)

        milliseconds = []
        for way in (ours, theirs):
            way(few)
            less, more = (timed(sizes, partial(way, steps)) for steps in (few, many))
            milliseconds.append(1000 * (more - less) / (many - few))
        lines.append(f"| {rows} | {milliseconds[0]:.1f} | {milliseconds[1]:.1f} |")
    billions = sum(parameter.numel() for parameter in policy.model.parameters()) / 1e9
    return [f"Decoding, {billions:.1f} billion parameters, prompts of {sizes.prompt}:", "", *lines]


@torch.inference_mode()
def two_policies(sizes: Sizes) -> list[str]:
    """Tokens a second of cross-sampling, in lock-step and with drafts."""
    pair = random_pair(sizes.large, sizes.dtype, sizes.device)
    few, many = sizes.positions
    prompts, noise, coins = asked(sizes.large.vocab_size, 4, sizes.prompt, many)

    def decode(threshold: float, draft: int | None, positions: int) -> list:
        sampling = Sampling(1.0, 0.7, positions)
        task = SweepTask(prompts, noise, coins, CRITERIA["js"], [threshold], sampling)
        ((samples,), _) = cross_sample(*pair, task, Resources(4, 20_000, draft, 6e-2))
        return samples

    def tokens_a_second(threshold: float, draft: int | None) -> float:
        less, more = (timed(sizes, partial(decode, threshold, draft, positions)) for positions in (few, many))
        return 4 * (many - few) / (more - less)

    scores = np.concatenate([sample.scores for sample in decode(math.inf, 1, many)])
    lines = ["| js fires at | lock-step, tokens a second | drafts of chosen length |", "|---|---|---|"]
    for share in (0.02, 0.17):
        threshold = float(np.quantile(scores, 1 - share))
        lines.append(f"| {share:.0%} | {tokens_a_second(threshold, 1):.0f} | {tokens_a_second(threshold, None):.0f} |")
    return ["Cross-sampling, 4 rows:", "", *lines]


def training_step(sizes: Sizes) -> list[str]:
    """The parts of a step of the smaller model on responses of full length, and the arithmetic of its update."""
    join_world(sizes.device)
    args = step_arguments(sizes, prompts=8, mini_batches=2)
    config = copy.deepcopy(sizes.small)
    config.eos_token_id, config.pad_token_id = TOKENIZER.eos_token_id, TOKENIZER.pad_token_id
    with torch.device(sizes.device):
        model = AutoModelForCausalLM.from_config(config, dtype=sizes.dtype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (row,) = our_rows(model, args, steps=1, endless=True)
    peak = product_rate(sizes.device, sizes.dtype, sizes.product)
    tokens = args.prompts * args.responses * sizes.response
    # A forward pass for the old log-probabilities, and one forward and one backward pass.
    reached = 8 * parameters * tokens / row["update_seconds"]
    parts = ", ".join(f"{part} {row[f'{part}_seconds']:.2f} s" for part in PARTS if f"{part}_seconds" in row)
    return [
        f"A DAPO step of {parameters / 1e9:.1f} billion parameters, {args.prompts} x {args.responses} responses of "
        f"{sizes.response} tokens: {parts}. Update: {reached / 1e12:.0f} TFLOP/s, where a product of matrices of "
        f"{sizes.product} reaches {peak / 1e12:.0f}."
    ]


def update_kinds(sizes: Sizes) -> list[str]:
    """What an update of the smaller model spends its time on, by kind of operation."""
    join_world(sizes.device)
    args = step_arguments(sizes, prompts=2, mini_batches=1)
    with torch.device(sizes.device):
        model = AutoModelForCausalLM.from_config(sizes.small, dtype=sizes.dtype)
    rl = settings(args, 1, evaluate=False)
    engine = initialise(model, rl, lambda optimiser: warmup_then_constant(optimiser, 0))
    groups = full_groups(args.prompts, args.responses, args.tokens, sizes.small.vocab_size)
    seconds, by_kind = seconds_by_kind(Trainer(engine, None, rl), groups)
    shares = ", ".join(f"{kind} {of_kind / seconds:.0%}" for kind, of_kind in by_kind.items())
    return [
        f"Of the {seconds:.2f} s of an update on {args.prompts} x {args.responses} such responses: {shares}; "
        "the device waits for the rest."
    ]


def step_arguments(sizes: Sizes, prompts: int, mini_batches: int) -> argparse.Namespace:
    """What benchmarks/training.py takes, for 16 responses of full length to each prompt."""
    return argparse.Namespace(
        prompts=prompts,
        responses=16,
        mini_batches=mini_batches,
        tokens=sizes.response,
        micro_batch_tokens=8192,
        precision="bfloat16" if sizes.dtype == torch.bfloat16 else "float32",
    )


def asked(
    vocabulary_size: int, rows: int, prompt: int, positions: int
) -> tuple[list[list[int]], np.ndarray, np.ndarray]:
    """Random prompts, and the noise of their responses."""
    prompts = np.random.default_rng(0).integers(vocabulary_size, size=(rows, prompt)).tolist()
    names = [str(row) for row in range(rows)]
    noise, coins = (uniforms(0, purpose, names, [0] * rows, positions) for purpose in ("token", "coin"))
    return prompts, noise, coins


def as_rollouts(prompts: list[list[int]], responses: list[list[int]]) -> pl.DataFrame:
    """The columns of schemas.ROLLOUTS that scoring reads."""
    rows = range(len(prompts))
    ids = {"problem_id": [f"p{row}" for row in rows], "sample": [0 for _ in rows]}
    return pl.DataFrame(ids | {"prompt_token_ids": prompts, "response_token_ids": responses})


def timed(sizes: Sizes, function: Callable[[], object]) -> float:
    """Seconds that `function` takes, the GPU's work included."""
    begun = time.perf_counter()
    function()
    if sizes.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def peak_memory(sizes: Sizes, function: Callable[[], object]) -> int:
    """Bytes of the GPU's memory that `function` holds at most."""
    if sizes.device != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    function()
    return torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    sys.exit(main())
