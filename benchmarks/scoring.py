"""What scoring costs beyond two bare forward passes, in time and in memory, and what it loses in accuracy.

Time: the whole of scoring (both models, every statistic, the Parquet file) against its floor, two forward passes with
output heads over the same tokens, in alternation; medians. The responses are natural text (this repository's license),
since the cost depends on how wide the nuclei are; with --samples several follow each prompt, as rollouts do. Without
model folders: random weights in SmolLM2-135M's architecture, and random tokens.

    python benchmarks/scoring.py time BASE TUNED --threads 2 --dtype float32

Memory: peak resident memory of scoring one long response with a large vocabulary, above that of the two models and one
forward pass through the decoder, each in its own process.

    python benchmarks/scoring.py memory --threads 2

Accuracy: how far the columns are from those, in float64, of dense logits that the models' own forward passes give for
each response alone: the columns of the same logits, and of all of scoring. Beside it, how far such passes are from each
other: of the responses padded to one batch, and of copies of the models in float64.

    python benchmarks/scoring.py accuracy BASE TUNED --dtype float32
"""

import argparse
import copy
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import torch
from shapes import SMOLLM2_135M
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM as CausalLM
from transformers import PretrainedConfig, PreTrainedModel, Qwen2Config

from tokenshift.artifacts import write_parquet_parts
from tokenshift.config.measurements import Compared, Scoring, Truncation
from tokenshift.distributions.comparison import compare
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.policies.policy import Policy
from tokenshift.schemas import SCORES
from tokenshift.scoring.teacher_forcing import Work, score

TEXT = Path(__file__).parents[1] / "LICENSE"
LONG = Qwen2Config(
    vocab_size=152_000,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=16384,
    tie_word_embeddings=True,
)
SCORING = Scoring()
MEASURED = ("js", "js_nucleus", "kl_base_tuned", "entropy_base", "logp_base", "logp_tuned")
SETTINGS = (Truncation(temperature=1.0, top_p=0.7), Compared())


def random_pair(config: PretrainedConfig, dtype: str) -> list[Policy]:
    """A random model, its weights scaled to predict about as sharply as a trained one, and a perturbed copy."""
    policies = []
    for perturbation in (0.0, 0.002):
        torch.manual_seed(0)
        model = CausalLM.from_config(config)
        model.get_input_embeddings().weight.data.mul_(12)
        for parameter in model.parameters() if perturbation else ():
            parameter.data.add_(torch.randn_like(parameter), alpha=perturbation)
        policies.append(Policy(model.to(getattr(torch, dtype)).eval(), (), config.vocab_size))
    return policies


def pair_of(folders: list[str], dtype: str) -> tuple[list[Policy], list[int]]:
    """The pair in `folders` and the tokens of a text, or a random pair and random tokens."""
    if not folders:
        tokens = torch.randint(SMOLLM2_135M.vocab_size, (10_000,), generator=torch.Generator().manual_seed(0))
        return random_pair(SMOLLM2_135M, dtype), tokens.tolist()
    tokenizer = load_tokenizer(folders[0])
    return [Policy.of(load_model(folder, dtype, "cpu"), tokenizer) for folder in folders], tokenizer.encode(
        TEXT.read_text()
    )


def as_rollouts(prompts: list[list[int]], responses: list[list[int]], samples: int = 1) -> pl.DataFrame:
    """The columns of schemas.ROLLOUTS that scoring reads; `samples` neighbouring responses have one problem."""
    return pl.DataFrame(
        {
            "problem_id": [f"p{row // samples}" for row in range(len(prompts))],
            "sample": [row % samples for row in range(len(prompts))],
            "prompt_token_ids": prompts,
            "response_token_ids": responses,
        }
    )


def default_work(pair: list[Policy]) -> Work:
    """How the study's defaults cut the work for this pair."""
    return Work.of(SCORING.batch_tokens, SCORING.chunk_memory_mb, pair[0])


def score_to_file(pair: list[Policy], rollouts: pl.DataFrame, folder: str) -> None:
    """What workflow/scripts/score.py does once the models are loaded, with the default settings."""
    tables = score(*pair, rollouts, *SETTINGS, default_work(pair))
    write_parquet_parts(Path(folder) / "scores.parquet", tables, SCORES, {}, ("torch", "transformers"))


@torch.inference_mode()
def forward_passes(models: list[PreTrainedModel], tokens: torch.Tensor, logits_to_keep: int) -> None:
    """The floor: each model over `tokens` (B, T), with logits of the last positions (0: of all), eight rows at once."""
    for model in models:
        for rows in tokens.split(8):
            model(input_ids=rows, use_cache=False, logits_to_keep=logits_to_keep)


def measure_time(args: argparse.Namespace) -> None:
    """Print median seconds of scoring and its floor, and shares of scoring; on a busy machine trust the CPU time."""
    torch.set_num_threads(args.threads)
    pair, text = pair_of(args.folders, args.dtype)
    rows, prompts = args.problems * args.samples, args.problems * args.prompt
    prompt = torch.tensor(text[:prompts]).view(args.problems, args.prompt).repeat_interleave(args.samples, dim=0)
    response = torch.tensor(text[prompts : prompts + rows * args.length]).view(rows, args.length)
    tokens = torch.cat([prompt, response], dim=-1)
    rollouts = as_rollouts(prompt.tolist(), response.tolist(), args.samples)
    models = [policy.model for policy in pair]
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "two forward passes": lambda: forward_passes(models, tokens, 0),
            "  heads at response positions only": lambda: forward_passes(models, tokens, args.length + 1),
            "scoring": lambda: score_to_file(pair, rollouts, folder),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(args.rounds + 1):
            for name, run in contestants.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                run()
                seconds[name].append((time.perf_counter() - start, time.process_time() - start_cpu))
        file = Path(folder) / "scores.parquet"
        sizes, per_position = pl.read_parquet(file)["nucleus_size_base"], file.stat().st_size / response.numel()
    kept = {name: zip(*own[1:], strict=True) for name, own in seconds.items()}  # the first round warms up
    medians = {name: [statistics.median(values) for values in columns] for name, columns in kept.items()}
    print(f"{args.dtype}, {args.threads} threads, {rows} x ({args.prompt} + {args.length}) tokens")
    print(f"nucleus (top-p 0.7): median {sizes.median():.0f}, 95 % {sizes.quantile(0.95):.0f} tokens")
    print(f"scores file: {per_position:.0f} bytes a position")
    of_wall, of_cpu = medians["scoring"]
    for name, (wall, cpu) in medians.items():
        print(f"{name:36} {wall:7.3f} s ({wall / of_wall:.3f})   CPU time {cpu:7.3f} s ({cpu / of_cpu:.3f})")


def peak_mb(vocabulary_size: int, length: int, dtype: str, threads: int, scored: bool) -> float:
    """Peak resident memory of this process after both decoders, or scoring, saw one response of `length` tokens."""
    torch.set_num_threads(threads)
    LONG.vocab_size = vocabulary_size
    pair = random_pair(LONG, dtype)
    tokens = torch.randint(vocabulary_size, (length + 1,)).tolist()
    if scored:
        with tempfile.TemporaryDirectory() as folder:
            score_to_file(pair, as_rollouts([tokens[:1]], [tokens[1:]]), folder)
    else:
        with torch.inference_mode():
            pair[0].model.get_decoder()(input_ids=torch.tensor([tokens]), use_cache=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory(args: argparse.Namespace) -> None:
    """Print the peak of scoring above that of the models and one forward pass, for growing responses."""
    for length in args.lengths:
        peaks = []
        for scored in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as process:
                peaks.append(process.apply(peak_mb, (args.vocabulary, length, args.dtype, args.threads, scored)))
        print(f"T = {length}, V = {args.vocabulary}: {peaks[1]:.0f} MB, {peaks[1] - peaks[0]:.0f} MB above the forward")


Rows = list[tuple[list[int], list[int]]]  # prompts and responses


@torch.inference_mode()
def dense_scores(
    models: list[PreTrainedModel], size: int, rows: Rows, together: bool = False, precise: bool = True
) -> dict[str, torch.Tensor]:
    """All columns from dense logits, of the rows alone or padded to one batch; in float64 if `precise`."""
    whole = [torch.tensor(prompt + response) for prompt, response in rows]
    batches = [pad_sequence(whole, batch_first=True)] if together else [tokens[None] for tokens in whole]
    logits = [[row for batch in batches for row in model(input_ids=batch).logits] for model in models]
    parts = []
    for index, (prompt, response) in enumerate(rows):
        span = slice(len(prompt) - 1, len(prompt) + len(response) - 1)
        blocks = [own[index][span, :size] for own in logits]
        blocks = [block.double() if precise else block for block in blocks]
        parts.append(compare(*blocks, torch.tensor(response), *SETTINGS))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def measure_accuracy(args: argparse.Namespace) -> None:
    """Print the largest distance of some columns from those of dense logits."""
    torch.set_num_threads(args.threads)
    pair, text = pair_of(args.folders, args.dtype)
    models, size = [policy.model for policy in pair], pair[0].vocabulary_size
    rows = [(text[:40], text[60:260]), (text[:40], text[300:420]), (text[40:55], text[500:560])]
    scored = pa.concat_tables(score(*pair, as_rollouts(*zip(*rows, strict=True)), *SETTINGS, default_work(pair)))
    alone = dense_scores(models, size, rows)
    exact = [copy.deepcopy(model).double() for model in models]
    others = {
        "same logits": dense_scores(models, size, rows, precise=False),
        "scoring": {name: torch.tensor(scored[name].to_pylist()) for name in MEASURED},
        "forward passes, one batch": dense_scores(models, size, rows, together=True),
        "forward passes in float64": dense_scores(exact, size, rows),
    }
    print(f"{args.dtype}, {len(scored)} positions; largest distance from forward passes of each response alone")
    for label, columns in others.items():
        distances = (f"{name} {(columns[name].double() - alone[name]).abs().max():.1e}" for name in MEASURED)
        print(f"{label:28}", "  ".join(distances))


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    timed, sized, compared = (commands.add_parser(name) for name in ("time", "memory", "accuracy"))
    for command in (timed, sized, compared):
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    timed.set_defaults(measure=measure_time)
    timed.add_argument("folders", nargs="*", metavar="FOLDER", help="base and tuned model; none: random weights")
    timed.add_argument("--problems", type=int, default=1, help="prompts")
    timed.add_argument("--samples", type=int, default=1, help="responses to each prompt")
    timed.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    timed.add_argument("--length", type=int, default=224, help="tokens of each response")
    timed.add_argument("--rounds", type=int, default=5)
    sized.set_defaults(measure=measure_memory)
    compared.set_defaults(measure=measure_accuracy)
    compared.add_argument("folders", nargs=2, metavar="FOLDER", help="base and tuned model")
    sized.add_argument("--vocabulary", type=int, default=152_000)
    sized.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192])
    args = parser.parse_args()
    args.measure(args)


if __name__ == "__main__":
    main()
