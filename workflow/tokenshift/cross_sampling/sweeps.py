"""A sweep of cross-sampling: responses at all thresholds of one criterion, decoded with the same random numbers."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from tokenshift.config.specs import SweepSpec
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.cross_sampling.resources import Resources
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.noise import uniforms
from tokenshift.policies.conditioning import own_prompts, require_shared
from tokenshift.policies.models import load_tokenizer
from tokenshift.policies.policy import load_pair
from tokenshift.policies.rollouts import prompt_batch, response_columns
from tokenshift.policies.vocabulary import shared_ids
from tokenshift.problems.grading import Grader
from tokenshift.registries.criteria import Criterion, Threshold
from tokenshift.registries.trajectories import DIRECTIONS
from tokenshift.shards import add_shard_argument

# Margins below which the rounding of another batch could decide otherwise. Between passes of two widths the cumulative
# distributions of SmolLM2-135M differed by at most 3.5e-6 in float32, 5.6e-3 in float16 and 4.8e-2 in bfloat16.
NEAR_TIE = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 6e-2}


def require_all_problems(scores: pl.LazyFrame, problems: pl.DataFrame, all_shared: bool, file: Path) -> None:
    """Raise StudyError unless `scores` (schemas.SCORES), from `file`, are of each of `problems` and of no other.

    Unless the models of the pair have `all_shared` tokens, a problem may be missing: its responses begin with others.
    """
    scored = set(scores.select(pl.col("problem_id").unique()).collect()["problem_id"])
    known = set(problems["problem_id"])
    if differing := sorted(scored ^ known if all_shared else scored - known):
        raise StudyError(
            f"{file} is of another problem set: {len(differing)} problems are in one of the two alone, the first "
            f"{differing[0]}; make it again: `snakemake --forcerun {file}`"
        )


def criterion_values(scores: pl.LazyFrame, criterion: Criterion, direction: str) -> np.ndarray:
    """The criterion at every position of the primary's own responses (schemas.SCORES); finite values alone."""
    primary, intervention = DIRECTIONS[direction]
    first, *subtracted = (
        pl.col(column.format(primary=primary, intervention=intervention)) for column in criterion.columns
    )
    value = sum((-column for column in subtracted), first)
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
    halfway = (observed[place] + observed[np.minimum(place + 1, len(observed) - 1)]) / 2
    within = np.clip(halfway, criterion.lowest, criterion.highest(2**62))  # values are stored rounded
    return sorted({float(value) for value in within}, reverse=True)


def sweep_parser(description: str, spec: type[SweepSpec]) -> argparse.ArgumentParser:
    """Parser with the arguments that every sweep takes; `spec` is the class of its --spec."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=spec.parse, required=True, help=f"JSON of a {spec.__name__}")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--vocabulary", type=Path, required=True, help="Parquet file of the pair's vocabulary")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of problems")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of cross-samples")
    add_shard_argument(parser)
    return parser


def run_sweep(
    spec: SweepSpec,
    args: argparse.Namespace,
    problems: pl.DataFrame,
    criterion: Criterion,
    thresholds: dict[float, Threshold],
) -> pa.Table:
    """Cross-sample responses to `problems` (schemas.PROBLEMS) at `thresholds`, by the name each has in the file.

    `args` are those of `sweep_parser`. The rows are those of schemas.CROSS_SAMPLES.
    """
    sampling, ids, compute = Sampling.of(spec.evaluation), shared_ids(args.vocabulary), spec.compute.decoding()
    policies = dict(zip(("base", "tuned"), load_pair(args.base, args.tuned, spec.prompts, compute), strict=True))
    first, second = DIRECTIONS[spec.direction]
    primary, intervention = policies[first], policies[second]
    stops = {*primary.stop_token_ids, *intervention.stop_token_ids}
    tokenizer = load_tokenizer(getattr(args, first))
    batch = prompt_batch(problems, spec.evaluation.samples, tokenizer, getattr(spec.prompts, first))
    own = own_prompts(spec.conditioning, spec.prompts, problems, args.base, args.tuned)
    if own is None:
        require_shared(dict(zip(batch.problem_ids, batch.prompts, strict=True)), ids)
        of_intervention = batch.prompts
    else:
        prompts = own[("base", "tuned").index(second)]
        of_intervention = [prompts[problem_id] for problem_id in batch.problem_ids]
    noise, coins = (
        uniforms(spec.seed, purpose, batch.problem_ids, batch.samples, sampling.max_new_tokens)
        for purpose in ("token", "coin")
    )
    resources = Resources(
        spec.evaluation.batch_size, spec.drafting.memory_mb, spec.drafting.draft, NEAR_TIE[compute.dtype]
    )
    task = SweepTask(batch.prompts, noise, coins, criterion, list(thresholds.values()), sampling, of_intervention, ids)
    name = f"{criterion.name}, {len(thresholds)} thresholds"
    sweep, _ = cross_sample(primary, intervention, task, resources, name)
    tables = []
    with Grader() as grader:
        for threshold, decoded in zip(thresholds, sweep, strict=True):
            responses = [sample.response for sample in decoded]
            tables.append(
                pa.table(
                    {
                        "threshold": pa.array([threshold] * len(decoded), pa.float64()),
                        **response_columns(batch, responses, stops, tokenizer, grader),
                        "switched": [sample.switched for sample in decoded],
                        "replaced": [sample.replaced for sample in decoded],
                        "primary_token_ids": [sample.primary_tokens for sample in decoded],
                        "near_ties": [sample.near_ties for sample in decoded],
                    }
                )
            )
    by_threshold = np.arange(len(thresholds) * len(batch.prompts)).reshape(len(thresholds), -1)
    return pa.concat_tables(tables, promote_options="permissive").take(by_threshold.T.ravel())
