"""A cross-sampling sweep from the command line: all thresholds of one criterion, with the same random numbers."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch

from tokenshift.artifacts import read_parquet, write_parquet
from tokenshift.cross_sampling.decoder import cross_sample
from tokenshift.cross_sampling.resources import Resources
from tokenshift.cross_sampling.rules import Criterion, Threshold
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.noise import uniforms
from tokenshift.policies.models import load_tokenizer
from tokenshift.policies.policy import load_pair
from tokenshift.policies.rollouts import requests, response_columns
from tokenshift.problems.grading import Grader
from tokenshift.schemas import CROSS_SAMPLES, PROBLEMS
from tokenshift.shards import add_shard_argument, shard

NEAR_TIE = 1e-5  # margin below which the rounding of another batch could decide otherwise


def criterion_values(scores: pl.LazyFrame, criterion: str, direction: str) -> np.ndarray:
    """The criterion at every position of the primary's own responses (schemas.SCORES); finite values alone."""
    primary, intervention = ("base", "tuned") if direction == "forward" else ("tuned", "base")
    value = {
        "js": pl.col("js"),
        "js_nucleus": pl.col("js_nucleus"),
        "kl_primary_intervention": pl.col(f"kl_{primary}_{intervention}"),
        "kl_intervention_primary": pl.col(f"kl_{intervention}_{primary}"),
        "entropy_primary": pl.col(f"entropy_{primary}"),
        "entropy_intervention": pl.col(f"entropy_{intervention}"),
        "logp_difference": pl.col(f"logp_{primary}") - pl.col(f"logp_{intervention}"),
    }[criterion]
    return scores.select(value=value).filter(pl.col("value").is_finite()).collect()["value"].to_numpy()


def sweep_thresholds(values: np.ndarray, quantiles: Sequence[float], criterion: Criterion) -> list[float]:
    """Distinct `quantiles` of a criterion along the primary's own responses, from the largest (fewest switches) down.

    The quantile lies halfway between the smallest observed value with at least that share of positions at or below it
    and the next larger one, so that no position of those responses is a near tie by construction; where there is no
    larger one, it is that value. Raises StudyError when there are no values.
    """
    if not len(values):
        raise StudyError(f"{criterion.name}: the scores of the primary's responses hold no position to choose from")
    observed = np.unique(values.astype(float))
    place = observed.searchsorted(np.quantile(values.astype(float), quantiles, method="inverted_cdf"))
    found = (observed[place] + observed[np.minimum(place + 1, len(observed) - 1)]) / 2
    within = np.clip(found, criterion.lowest, criterion.highest(2**62))  # values are stored rounded
    return sorted({float(value) for value in within}, reverse=True)


def sweep_parser(description: str, spec: str) -> argparse.ArgumentParser:
    """Parser with the arguments that every sweep takes; `spec` says what its JSON holds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=json.loads, required=True, help=spec)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of cross-samples")
    add_shard_argument(parser)
    return parser


def run_sweep(args: argparse.Namespace, criterion: Criterion, thresholds: dict[float, Threshold]) -> None:
    """Cross-sample at `thresholds`, by the name each has in the file; writes schemas.CROSS_SAMPLES to args.output."""
    spec, evaluation = args.spec, args.spec["evaluation"]
    torch.set_num_threads(args.threads)
    sampling = Sampling(evaluation["temperature"], evaluation["top_p"], evaluation["max_new_tokens"])
    tokenizer = load_tokenizer(args.base)
    pair = load_pair(args.base, args.tuned, spec["compute"])
    primary, intervention = pair if spec["direction"] == "forward" else reversed(pair)
    stops = {*primary.stop_token_ids, *intervention.stop_token_ids}
    problems = shard(read_parquet(args.problems, PROBLEMS), *args.shard)
    asked = requests(problems, evaluation["samples"], tokenizer, **spec["prompt"])
    noise, coins = (
        uniforms(spec["seed"], purpose, asked.problem_ids, asked.samples, sampling.max_new_tokens)
        for purpose in ("token", "coin")
    )
    decoding = spec["decoding"]
    resources = Resources(evaluation["batch_size"], decoding["memory_mb"], decoding["draft"], NEAR_TIE)
    sweep, _ = cross_sample(
        primary,
        intervention,
        asked.prompts,
        noise,
        coins,
        criterion,
        list(thresholds.values()),
        sampling,
        resources,
        name=f"{criterion.name}, {len(thresholds)} thresholds",
    )
    parts = []
    with Grader() as grader:
        for threshold, decoded in zip(thresholds, sweep, strict=True):
            responses = [sample.response for sample in decoded]
            parts.append(
                pa.table(
                    {
                        "threshold": pa.array([threshold] * len(decoded), pa.float64()),
                        **response_columns(asked, responses, stops, tokenizer, grader),
                        "switched": [sample.switched for sample in decoded],
                        "replaced": [sample.replaced for sample in decoded],
                        "primary_token_ids": [sample.primary_tokens for sample in decoded],
                        "near_ties": [sample.near_ties for sample in decoded],
                    }
                )
            )
    by_threshold = np.arange(len(thresholds) * len(asked.prompts)).reshape(len(thresholds), -1)
    table = pa.concat_tables(parts, promote_options="permissive").take(by_threshold.T.ravel())
    write_parquet(args.output, table, CROSS_SAMPLES, spec, ("torch", "transformers", "math-verify"))
