"""Two models along fixed responses: every statistic of the scores file, by teacher forcing.

Final hidden states are computed once per batch (policies.forward) and kept at response positions only; both output
heads and all statistics then run over small chunks of positions, so nothing of size (response, vocabulary) ever exists.
Responses are taken a group of problems at a time, so memory does not grow with their number. No batch reaches beyond a
group, and shards are whole groups: over how many jobs the work is spread changes no bit.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from tokenshift.config.measurements import Compared, Truncation
from tokenshift.distributions.comparison import compare
from tokenshift.errors import StudyError
from tokenshift.policies.forward import Batch, Sequences, SplitModel, plan, response_hidden_states
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress
from tokenshift.schemas import SCORES

# Columns of candidate lists, which are cut where the column of ids that belongs to them says.
CANDIDATE_LISTS = {
    "top_ids_base": "top_ids_base",
    "top_logps_base": "top_ids_base",
    "top_ids_tuned": "top_ids_tuned",
    "top_logps_tuned": "top_ids_tuned",
}

Statistics = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]  # `compare` with its settings


@dataclass(frozen=True)
class Work:
    """How the work is cut, which changes results by no more than rounding.

    batch_tokens: tokens, padding included, in one forward pass (at least one response). chunk_positions: positions
    whose logits exist at once.
    """

    batch_tokens: int
    chunk_positions: int

    @classmethod
    def of(cls, batch_tokens: int, chunk_memory_mb: int, policy: Policy) -> "Work":
        """Chunks whose logits take `chunk_memory_mb` of memory for a pair of models like `policy`.

        On a CPU two chunks' logits of both models exist at once, elsewhere a chunk's and about eight float32 blocks.
        """
        model = policy.model
        per_logit = 4 * model.dtype.itemsize if model.device.type == "cpu" else 2 * model.dtype.itemsize + 8 * 4
        positions = chunk_memory_mb * 10**6 // (per_logit * policy.vocabulary_size)
        return cls(batch_tokens, max(8, positions))


def score(
    base: Policy,
    tuned: Policy,
    rollouts: pl.DataFrame,
    truncation: Truncation,
    compared: Compared,
    work: Work,
    shard: tuple[int, int] = (0, 1),
    name: str | None = None,
) -> Iterator[pa.Table]:
    """Score both policies at every response position of `rollouts` (schemas.ROLLOUTS); one row each (schemas.SCORES).

    Yields the rows of a group of problems at a time, in the order of `rollouts`, then by position, whatever the
    batches.

    Args:
        base: policy. tuned: policy.
        rollouts: responses of any policy with the pair's tokenizer.
        truncation: sampling distribution whose nuclei are described.
        compared: what is compared beside the full distributions.
        work: how the work is cut.
        shard: number, from 0, of the shard whose rows are wanted, and how many there are.
        name: under which to report progress, if at all.

    Raises:
        StudyError: a token lies outside the shared vocabulary, a response is longer than a model's context, or a model
            gives logits that are not finite; the message names model, problem, sample and position.
    """
    groups = _groups(rollouts, work.batch_tokens, *shard)
    in_shard = pl.concat(groups)
    _check_fits((base, tuned), in_shard)
    vocabulary_size = min(base.vocabulary_size, tuned.vocabulary_size)
    pair = _Pair(SplitModel(base.model), SplitModel(tuned.model), vocabulary_size)
    statistics = partial(compare, truncation=truncation, compared=compared)
    total = int(in_shard["response_token_ids"].list.len().sum())
    with progress(None, name, "token", total=total) as bar:
        for group in groups:
            yield _score_group(pair, group, statistics, work, bar)


def _groups(rollouts: pl.DataFrame, stretch: int, number: int, count: int) -> list[pl.DataFrame]:
    """The groups of problems that are scored by shard `number` of `count`.

    A group is of neighbouring problems, with all their responses, of which the first positions lie in the same
    `stretch` of all positions. A shard has at least one group, which may have no rows: there can be fewer groups than
    shards.
    """
    positions = rollouts["response_token_ids"].list.len().cast(pl.Int64).cum_sum()
    problem = rollouts["problem_id"].rle_id()
    before = positions.shift(fill_value=0).gather(problem.search_sorted(problem, side="left"))
    groups = rollouts.with_columns(group=before // stretch).partition_by(
        "group", include_key=False, maintain_order=True
    )
    return [group for place, group in enumerate(groups) if place * count // len(groups) == number] or [rollouts.clear()]


@dataclass(frozen=True)
class _Pair:
    """Both models, and how many of their outputs are tokens."""

    base: SplitModel
    tuned: SplitModel
    vocabulary_size: int


@torch.inference_mode()
def _score_group(pair: _Pair, rollouts: pl.DataFrame, statistics: Statistics, work: Work, bar: tqdm) -> pa.Table:
    sequences = Sequences(rollouts["prompt_token_ids"].to_list(), rollouts["response_token_ids"].to_list())
    keys = list(zip(rollouts["problem_id"], rollouts["sample"], strict=True))
    by_response: list[dict[str, np.ndarray]] = [{} for _ in keys]
    for batch in plan(sequences, work.batch_tokens):
        columns = _score_batch(pair, sequences, batch, statistics, work.chunk_positions, bar)
        lengths = [len(sequences.responses[row]) for row in batch.rows]
        _check_finite(columns, [keys[row] for row in batch.rows], lengths)
        for column, values in columns.items():
            for row, of_response in zip(batch.rows, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
                by_response[row][column] = of_response
    return _table(by_response, keys, rollouts["response_token_ids"])


def _score_batch(
    pair: _Pair, sequences: Sequences, batch: Batch, statistics: Statistics, chunk_positions: int, bar: tqdm
) -> dict[str, np.ndarray]:
    """Columns of the batch's response positions, one response after another, in chunks of positions."""
    device = pair.base.model.device
    models = (pair.base, pair.tuned)
    hidden = [response_hidden_states(split, sequences, batch) for split in models]  # on two GPUs, at once
    tokens = torch.tensor([token for row in batch.rows for token in sequences.responses[row]], device=device)
    chunks = []
    for start in range(0, len(tokens), chunk_positions):
        chunk = slice(start, start + chunk_positions)
        blocks = [split.logits(states[chunk]) for split, states in zip(models, hidden, strict=True)]
        logits = (block[:, : pair.vocabulary_size].to(device) for block in blocks)
        chunks.append({name: values.cpu().numpy() for name, values in statistics(*logits, tokens[chunk]).items()})
        bar.update(len(tokens[chunk]))
    return {column: np.concatenate([chunk[column] for chunk in chunks]) for column in chunks[0]}


def _check_fits(policies: tuple[Policy, Policy], rollouts: pl.DataFrame) -> None:
    vocabulary_size = min(policy.vocabulary_size for policy in policies)
    context = min(getattr(policy.model.config, "max_position_embeddings", math.inf) for policy in policies)
    for problem_id, sample, prompt, response in rollouts.select(
        "problem_id", "sample", "prompt_token_ids", "response_token_ids"
    ).iter_rows():
        where, length = f"problem {problem_id}, sample {sample}", len(prompt) + len(response)
        if not prompt:
            raise StudyError(f"{where}: the prompt has no tokens, so nothing predicts the response's first one")
        if length > context:
            raise StudyError(f"{where}: prompt and response have {length} tokens, the models' context is {context}")
        largest = max(*prompt, *response)
        if largest >= vocabulary_size:
            raise StudyError(f"{where}: token id {largest} lies outside the pair's vocabulary of {vocabulary_size}")


def _check_finite(columns: dict[str, np.ndarray], keys: Sequence[tuple[str, int]], lengths: Sequence[int]) -> None:
    for which in ("base", "tuned"):
        broken = np.flatnonzero(~np.isfinite(columns[f"entropy_{which}"]))
        if len(broken):
            row = int(np.searchsorted(np.cumsum(lengths), broken[0], side="right"))
            (problem_id, sample), position = keys[row], broken[0] - sum(lengths[:row])
            raise StudyError(
                f"the {which} model's logits are not finite at problem {problem_id}, sample {sample}, "
                f"position {position}"
            )


def _table(by_response: list[dict[str, np.ndarray]], keys: Sequence[tuple[str, int]], tokens: pl.Series) -> pa.Table:
    """The columns of each response, with its key and `tokens`, as rows of schemas.SCORES."""
    lengths = tokens.list.len().to_list()
    columns: dict[str, pa.Array] = {
        "problem_id": pa.array(np.repeat(np.array([key[0] for key in keys], dtype=object), lengths), pa.string()),
        "sample": pa.array(np.repeat([key[1] for key in keys], lengths), pa.int32()),
        "position": pa.array(np.concatenate([[], *map(np.arange, lengths)]).astype("i4")),
        "token_id": pa.array(tokens.explode().drop_nulls().to_numpy(), pa.int32()),
    }
    filled = [response for response in by_response if response]
    for field in SCORES:
        if field.name in columns:
            continue
        if not filled:
            columns[field.name] = pa.array([], field.type)
            continue
        values = np.concatenate([response[field.name] for response in filled])
        if not pa.types.is_list(field.type):
            columns[field.name] = pa.array(_stored(values), field.type)
            continue
        listed = np.ones(values.shape, bool)
        if field.name in CANDIDATE_LISTS:  # both end at the candidate whose id is the first to be -1
            listed = np.concatenate([response[CANDIDATE_LISTS[field.name]] for response in filled]) >= 0
        offsets = pa.array(np.concatenate([[0], listed.sum(axis=1).cumsum()]), pa.int32())
        flat = pa.array(_stored(values[listed]), field.type.value_type)
        columns[field.name] = pa.ListArray.from_arrays(offsets, flat)
    return pa.table(columns, schema=SCORES)


def _stored(values: np.ndarray) -> np.ndarray:
    """Floats rounded to a multiple of 2^-18 (4e-6) or to 13 significant bits, whichever is finer.

    Digits beyond that are mostly the rounding of the model's own arithmetic, and do not compress.
    """
    if values.dtype.kind != "f":
        return values
    finest = np.minimum(np.frexp(values)[1] - 13, -18)
    return np.ldexp(np.rint(np.ldexp(values, -finest)), finest)
