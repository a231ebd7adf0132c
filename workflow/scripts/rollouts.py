"""Sample responses of one model to a problem set, and grade them."""

import argparse
import sys
from pathlib import Path

import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.command import run
from tokenshift.config.specs import RolloutsSpec
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies.generation import generate
from tokenshift.policies.models import load_tokenizer
from tokenshift.policies.policy import load_policy
from tokenshift.policies.rollouts import prompt_batch, response_columns
from tokenshift.policies.tensor_parallel import output_of
from tokenshift.problems.grading import Grader
from tokenshift.schemas import PROBLEMS, ROLLOUTS
from tokenshift.shards import add_shard_argument, shard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=RolloutsSpec.parse, required=True, help="JSON of a RolloutsSpec")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of rollouts")
    add_shard_argument(parser)
    args = parser.parse_args()
    spec, evaluation = args.spec, args.spec.evaluation
    torch.set_num_threads(spec.compute.threads)
    sampling = Sampling.of(evaluation)
    tokenizer = load_tokenizer(args.model)
    policy = load_policy(args.model, spec.prompt, spec.compute.decoding())
    problems = shard(read_parquet(args.problems, PROBLEMS), *args.shard)
    batch = prompt_batch(problems, evaluation.samples, tokenizer, spec.prompt)
    print(f"the first prompt: {tokenizer.decode(batch.prompts[0])!r}, tokens {batch.prompts[0]}", file=sys.stderr)
    noise = uniforms(spec.seed, "token", batch.problem_ids, batch.samples, sampling.max_new_tokens)
    responses = generate(policy, batch.prompts, noise, sampling, evaluation.batch_size, name="rollouts")
    with Grader() as grader:
        columns = response_columns(batch, responses, policy.stop_token_ids, tokenizer, grader)
    with output_of(args.output) as output:
        write_parquet(output, pa.table(columns), ROLLOUTS, spec.plain(), ("torch", "transformers", "math-verify"))


if __name__ == "__main__":
    run(main)
