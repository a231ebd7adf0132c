"""What decoding with two policies costs: forward passes per token, tokens a second, and a sweep against separate runs.

Prompts are natural text (this repository's license) and responses have a fixed length, since ends of sequence are
ignored. Thresholds are quantiles of JS along the primary's own responses, so that the rule fires at given shares of
positions. Without model folders: random weights in the shape of SmolLM2-135M or of a 7B model, and random tokens.

    python benchmarks/cross_sampling.py BASE TUNED --threads 2
    python benchmarks/cross_sampling.py --shape 7B --device cuda --dtype bfloat16 --rows 4

Printed: tokens a second of plain generation by one policy with the same engine, and of running both models on the whole
prefix for each token; at each share, tokens a second in lock-step and with chosen drafts, and forward passes per token
with one row against (k + 1) p / (1 - (1 - p)^k) at the observed cut rate p, or 1 + p for a rule that looks at the
primary alone; last, a sweep over six thresholds against separate runs.
"""

import argparse
import time
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from shapes import QWEN2_7B, SMOLLM2_135M, random_pair

from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.cross_sampling.resources import Cost, Resources
from tokenshift.cross_sampling.trace import CrossSample
from tokenshift.distributions.sampling import Sampling, draw
from tokenshift.noise import uniforms
from tokenshift.policies.generation import generate
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import COIN, CRITERIA, NONE, Threshold

TEXT = Path(__file__).parents[1] / "LICENSE"
PARTS = ["passes", "padding", "speed", "sweep"]
SAMPLES = 4  # responses per prompt
SHAPES = {"135M": SMOLLM2_135M, "7B": QWEN2_7B}


def pair_of(args: argparse.Namespace) -> tuple[list[Policy], list[int]]:
    """The pair in the given folders and the tokens of a text, or a random pair and random tokens."""
    if not args.folders:
        pair = random_pair(SHAPES[args.shape], getattr(torch, args.dtype), args.device)
        return pair, np.random.default_rng(0).integers(pair[0].vocabulary_size, size=10_000).tolist()
    tokenizer = load_tokenizer(args.folders[0])
    models = [load_model(folder, args.dtype, args.device) for folder in args.folders]
    return [Policy(model, (), len(tokenizer)) for model in models], tokenizer.encode(TEXT.read_text())


class Bench:
    """A pair with what it is asked; every run gives its seconds."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.pair, text = pair_of(args)
        self.sampling = Sampling(1.0, args.top_p, args.length)
        self.asked = self.prompts_and_noise(text, args.requests)
        self.one = self.prompts_and_noise(text, args.single)
        self.many = self.prompts_and_noise(text, args.many)

    def prompts_and_noise(self, text: list[int], rows: int) -> dict:
        """Prompts, each with several samples, and the noise of their responses."""
        prompts = [text[start : start + self.args.prompt] for start in range(0, len(text), self.args.prompt)]
        names, numbers = [str(row // SAMPLES) for row in range(rows)], [row % SAMPLES for row in range(rows)]
        noise, coins = (uniforms(0, purpose, names, numbers, self.args.length) for purpose in ("token", "coin"))
        return {"prompts": [prompts[int(name)] for name in names], "uniforms": noise, "coins": coins}

    def decode(
        self, thresholds: list[Threshold], draft: int | None, asked: dict, rows: int, criterion: str = "js"
    ) -> tuple[list[list[CrossSample]], Cost, float]:
        """Cross-sample; the responses, their cost, and seconds."""
        resources = Resources(rows, self.args.memory_mb, draft, self.args.near_tie)
        start = time.perf_counter()
        rule = (CRITERIA | {COIN.name: COIN})[criterion]
        task = SweepTask(**asked, criterion=rule, thresholds=thresholds, sampling=self.sampling)
        decoded, cost = cross_sample(*self.pair, task, resources)
        return decoded, cost, time.perf_counter() - start

    def plain(self) -> float:
        """Tokens a second of one policy alone."""
        start = time.perf_counter()
        given = self.asked["prompts"], self.asked["uniforms"], self.sampling, self.args.rows
        responses = generate(self.pair[0], *given)
        return sum(map(len, responses)) / (time.perf_counter() - start)

    @torch.inference_mode()
    def from_scratch(self, passes: int) -> float:
        """Tokens a second of running both models on every whole prefix, measured halfway through the responses."""
        rows = self.args.rows
        tokens = torch.tensor(self.asked["prompts"][:rows]).repeat(1, 2 + self.args.length // self.args.prompt)
        tokens = tokens[:, : self.args.prompt + self.args.length // 2].to(self.args.device)
        noise = torch.from_numpy(self.asked["uniforms"][:rows, 0]).to(self.args.device)
        start = time.perf_counter()
        for _ in range(passes):
            for policy in self.pair:
                logits = policy.model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
                draw(logits, noise, self.sampling).tolist()
        return passes * len(tokens) / (time.perf_counter() - start)


def switched(samples: list[CrossSample]) -> tuple[float, float]:
    """Shares of switched and of replaced tokens."""
    return tuple(
        float(np.mean([flag for sample in samples for flag in getattr(sample, name)]))
        for name in ("switched", "replaced")
    )


def near_ties(decoded: list[list[CrossSample]]) -> int:
    """Near ties of all responses."""
    return sum(sample.near_ties for samples in decoded for sample in samples)


def measure_passes(bench: Bench, thresholds: dict[float, float]) -> None:
    """Print forward passes per token with one row against the formula."""
    for share, threshold in thresholds.items():
        for draft in bench.args.drafts:
            _, cost, _ = bench.decode([threshold], draft, bench.one, rows=1)
            p = cost.cut / cost.decided
            formula = (draft + 1) * p / (1 - (1 - p) ** draft) if p else (draft + 1) / draft
            print(
                f"js at {share:.0%}, draft {draft}: {cost.forwards_per_token:.3f} forward passes a token, formula "
                f"{formula:.3f} ({cost.forwards_per_token / formula - 1:+.1%}) at cut rate {p:.2%}"
            )
        _, cost, _ = bench.decode([share], 16, bench.one, rows=1, criterion="random")
        p = cost.cut / cost.decided
        print(f"random at {share:.0%}: {cost.forwards_per_token:.3f} forward passes a token, 1 + p = {1 + p:.3f}")


def measure_padding(bench: Bench, thresholds: dict[float, float]) -> None:
    """Print what many rows compute for each token, padding included."""
    rows = bench.args.many
    ways = [(f"js at {share:.0%}", [threshold], "js") for share, threshold in thresholds.items()]
    ways += [(f"random at {share:.0%}", [share], "random") for share in thresholds]
    for name, levels, criterion in ways:
        _, cost, seconds = bench.decode(levels, bench.args.drafts[1], bench.many, rows, criterion)
        print(
            f"{rows} rows, {name}: {cost.computed / cost.decided:.2f} positions computed a token, "
            f"{cost.computed / cost.needed:.3f} of those needed, {cost.decided / seconds:.1f} tokens/s"
        )


def measure_speed(bench: Bench, thresholds: dict[float, float]) -> None:
    """Print tokens a second of each way to decode."""
    print(f"plain generation by one policy: {bench.plain():.1f} tokens/s")
    print(f"both models on the whole prefix for each token: {bench.from_scratch(bench.args.passes):.1f} tokens/s")
    for share, threshold in thresholds.items():
        speeds = {}
        for name, draft in (("lock-step", 1), ("drafts", None)):
            decoded, cost, seconds = bench.decode([threshold], draft, bench.asked, bench.args.rows)
            speeds[name] = (cost.decided / seconds, cost, decoded)
        fires, replaces = switched(decoded[0])
        same = [a.response == b.response for a, b in zip(*(kept[2][0] for kept in speeds.values()), strict=True)]
        print(
            f"js at {share:.0%} (fires at {fires:.1%}, replaces {replaces:.1%}): "
            + ", ".join(f"{name} {speed:.1f} tokens/s" for name, (speed, _, _) in speeds.items())
            + f" (x{speeds['drafts'][0] / speeds['lock-step'][0]:.2f}); "
            f"{np.mean(same):.0%} of responses equal, {near_ties(decoded)} near ties in {cost.decided} tokens"
        )


def measure_sweep(bench: Bench, thresholds: list[float], draft: int | None) -> None:
    """Print the cost of a sweep in separate runs of one threshold."""
    sweep, cost, seconds = bench.decode(thresholds, draft, bench.asked, bench.args.rows)
    alone = [bench.decode([threshold], draft, bench.asked, bench.args.rows) for threshold in thresholds]
    decided, apart = sum(run[1].decided for run in alone), sum(run[2] for run in alone)
    pairs = zip(chain(*sweep), chain(*(run[0][0] for run in alone)), strict=True)
    same = np.mean([together.response == apart.response for together, apart in pairs])
    shares = ", ".join(f"{switched(samples)[0]:.1%}" for samples in sweep)
    of_runs = len(thresholds) / apart, len(thresholds) / decided
    print(
        f"sweep over {len(thresholds)} thresholds (fires at {shares}), drafts {draft or 'chosen'}: "
        f"{seconds:.1f} s against {apart:.1f} s apart, or {seconds * of_runs[0]:.2f} runs; "
        f"{cost.decided} tokens decoded against {decided}, or {cost.decided * of_runs[1]:.2f} runs; "
        f"{same:.1%} of responses equal, {near_ties(sweep)} near ties"
    )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="primary and intervention; none: random weights")
    parser.add_argument("--shape", choices=SHAPES, default="135M", help="of random weights")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=16, help="responses decoded together")
    parser.add_argument("--requests", type=int, default=32, help="responses in all")
    parser.add_argument(
        "--single", type=int, default=4, help="responses where forward passes are counted, one at a time"
    )
    parser.add_argument("--many", type=int, default=60, help="rows where computed positions are counted")
    parser.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    parser.add_argument("--length", type=int, default=128, help="tokens of each response")
    parser.add_argument("--top_p", type=float, default=0.7)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02, 0.05, 0.17], help="positions that switch")
    parser.add_argument("--drafts", type=int, nargs="+", default=[1, 4, 10], help="draft lengths held to the formula")
    parser.add_argument("--passes", type=int, default=3, help="tokens decoded on whole prefixes")
    parser.add_argument("--memory_mb", type=int, default=8000)
    parser.add_argument("--near_tie", type=float, default=1e-5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} threads"
    print(
        f"{' '.join(args.folders) or args.shape}, {args.dtype}, {where}, {args.rows} rows, "
        f"{args.requests} responses of {args.prompt} + {args.length} tokens"
    )
    pilot, _, _ = bench.decode([NONE], None, bench.asked, args.rows)
    scores = np.concatenate([sample.scores for sample in pilot[0]])
    thresholds = {share: float(np.quantile(scores, 1 - share)) for share in args.shares}
    if "passes" in args.parts:
        measure_passes(bench, thresholds)
    if "padding" in args.parts:
        measure_padding(bench, thresholds)
    if "speed" in args.parts:
        measure_speed(bench, thresholds)
    if "sweep" in args.parts:
        sweep = [NONE, *(float(np.quantile(scores, quantile)) for quantile in (0.98, 0.95, 0.9, 0.8, 0.7))]
        for draft in (1, None):
            measure_sweep(bench, sweep, draft)


if __name__ == "__main__":
    main()
