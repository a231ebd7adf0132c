"""Sample responses of one model to a problem set with vLLM (evaluation.engine), and grade them."""

import argparse
import sys
from pathlib import Path

import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import VllmRolloutsSpec
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.models import load_tokenizer
from tokenshift.policies.rollouts import prompt_batch, response_columns
from tokenshift.policies.vllm_engine import VllmEngine, package, response_seed
from tokenshift.policies.vocabulary import generation_config, stop_ids, vocabulary
from tokenshift.problems.grading import Grader
from tokenshift.schemas import PROBLEMS, ROLLOUTS
from tokenshift.shards import add_shard_argument, shard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=VllmRolloutsSpec.parse, required=True, help="JSON of a VllmRolloutsSpec")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of rollouts")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec, evaluation = args.spec, args.spec.evaluation
    torch.set_num_threads(spec.compute.threads)
    tokenizer = load_tokenizer(args.model)
    stops = stop_ids(tokenizer, generation_config(args.model), spec.prompt.stops)
    problems = shard(read_parquet(args.problems, PROBLEMS), *args.shard)
    batch = prompt_batch(problems, evaluation.samples, tokenizer, spec.prompt)
    print(f"the first prompt: {tokenizer.decode(batch.prompts[0])!r}, tokens {batch.prompts[0]}", file=sys.stderr)
    engine = VllmEngine(
        args.model,
        len(vocabulary(tokenizer)),
        max(map(len, batch.prompts)) + evaluation.max_new_tokens,
        evaluation.batch_size,
        spec.compute.decoding(),
        gpus=spec.gpus,
    )
    keys = zip(batch.problem_ids, batch.samples, strict=True)
    seeds = [response_seed(spec.seed, "token", problem_id, sample) for problem_id, sample in keys]
    responses = engine.generate(batch.prompts, seeds, Sampling.of(evaluation), stops, name="rollouts")
    with Grader() as grader:
        columns = response_columns(batch, responses, stops, tokenizer, grader)
    packages = ("torch", "transformers", "math-verify", package())
    write_parquet(args.output, pa.table(columns), ROLLOUTS, spec.plain(), packages)


if __name__ == "__main__":
    run(main)
