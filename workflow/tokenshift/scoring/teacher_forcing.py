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
from tokenshift.distributions.reduction import reduced_at_once
from tokenshift.errors import StudyError
from tokenshift.policies.conditioning import Prompts, require_shared
from tokenshift.policies.forward import Batch, Sequences, SplitModel, plan, response_hidden_states
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress
from tokenshift.schemas import SCORES
from tokenshift.scoring.host_copy import HostCopy
from tokenshift.scoring.shared_tokens import SharedTokens

# Columns of candidate lists, which are cut where the column of ids that belongs to them says.
CANDIDATE_LISTS = {
    "top_ids_base": "top_ids_base",
    "top_logps_base": "top_ids_base",
    "top_ids_tuned": "top_ids_tuned",
    "top_logps_tuned": "top_ids_tuned",
}

CHUNK_MB = {"cpu": 200, "cuda": 1000}  # for blocks of logits, where the study does not say
FREE = 0.25  # of a GPU's memory that is left, the most that they take then
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
    def of(cls, batch_tokens: int, chunk_memory_mb: int | None, policy: Policy) -> "Work":
        """Chunks whose logits take `chunk_memory_mb` of memory for a pair of loaded models like `policy`.

        None: CHUNK_MB, but no more than FREE of what is left on a GPU.

        Two chunks' logits of both models exist at once. Where neither compiled kernels nor those of a GPU reduce them,
        there are about eight blocks of them in float32 besides.
        """
        model = policy.model
        memory_mb = _default_mb(model.device) if chunk_memory_mb is None else chunk_memory_mb
        per_logit = 4 * model.dtype.itemsize + (0 if reduced_at_once(model.device, model.dtype) else 8 * 4)
        return cls(batch_tokens, max(8, memory_mb * 10**6 // (per_logit * policy.vocabulary_size)))


def _default_mb(device: torch.device) -> int:
    most = CHUNK_MB[device.type]
    return most if device.type == "cpu" else min(most, int(FREE * torch.cuda.mem_get_info(device)[0] / 10**6))


def score(
    base: Policy,
    tuned: Policy,
    rollouts: pl.DataFrame,
    truncation: Truncation,
    compared: Compared,
    work: Work,
    shard: tuple[int, int] = (0, 1),
    name: str | None = None,
    shared_ids: np.ndarray | None = None,
    own_prompts: tuple[Prompts, Prompts] | None = None,
) -> Iterator[pa.Table]:
    """Score both policies at every response position of `rollouts` (schemas.ROLLOUTS); one row each (schemas.SCORES).

    Yields the rows of a group of problems at a time, in the order of `rollouts`, then by position, whatever the
    batches.

    Args:
        base: policy. tuned: policy.
        rollouts: responses of any policy with the pair's tokenizers.
        truncation: sampling distribution whose nuclei are described.
        compared: what is compared beside the full distributions.
        work: how the work is cut.
        shard: number, from 0, of the shard whose rows are wanted, and how many there are.
        name: under which to report progress, if at all.
        shared_ids: ids, ascending, of the tokens that both policies have (schemas.VOCABULARY); by default all. What is
            compared is over them, and responses end before their first other token.
        own_prompts: those that base and tuned policy are conditioned on; by default both on those in `rollouts`.

    Raises:
        StudyError: a token lies outside the vocabularies, a prompt holds one that a policy conditioned on it lacks, a
            response is longer than a model's context, or a model gives logits that are not finite; the message names
            model, problem, sample and position.
    """
    tokens = SharedTokens(base, tuned, shared_ids)
    groups = _groups(tokens.cut(rollouts), work.batch_tokens, *shard)
    in_shard = pl.concat(groups)
    pair = _Pair(SplitModel(base.model), SplitModel(tuned.model), tokens, own_prompts)
    _check_fits((base, tuned), pair, in_shard)
    if own_prompts is None:
        prompts = in_shard.select("problem_id", "prompt_token_ids").unique("problem_id", maintain_order=True)
        require_shared(dict(prompts.iter_rows()), tokens.ids)
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
    """Both models, the tokens that they share, and their own prompts if they are conditioned on those."""

    base: SplitModel
    tuned: SplitModel
    tokens: SharedTokens
    own_prompts: tuple[Prompts, Prompts] | None

    def prompts(self, rollouts: pl.DataFrame) -> list[list[list[int]]]:
        """The prompts that base and tuned model are conditioned on along `rollouts`."""
        if self.own_prompts is None:
            return [rollouts["prompt_token_ids"].to_list()] * 2
        return [[prompts[problem_id] for problem_id in rollouts["problem_id"]] for prompts in self.own_prompts]


@torch.inference_mode()
def _score_group(pair: _Pair, rollouts: pl.DataFrame, statistics: Statistics, work: Work, bar: tqdm) -> pa.Table:
    responses = rollouts["response_token_ids"].to_list()
    sequences = [Sequences(prompts, responses) for prompts in pair.prompts(rollouts)]
    keys = list(zip(rollouts["problem_id"], rollouts["sample"], strict=True))
    by_response: list[dict[str, np.ndarray]] = [{} for _ in keys]
    for batch in plan(_longer(*sequences), work.batch_tokens):
        columns = _score_batch(pair, sequences, batch, statistics, work.chunk_positions, bar)
        lengths = [len(responses[row]) for row in batch.rows]
        _check_finite(columns, [keys[row] for row in batch.rows], lengths)
        for column, values in columns.items():
            for row, of_response in zip(batch.rows, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
                by_response[row][column] = of_response
    return _table(by_response, keys, rollouts["response_token_ids"])


def _longer(base: Sequences, tuned: Sequences) -> Sequences:
    """Of each row the longer prompt: batches are planned so that both models' sequences fit."""
    return Sequences([max(pair, key=len) for pair in zip(base.prompts, tuned.prompts, strict=True)], base.responses)


def _score_batch(
    pair: _Pair, sequences: list[Sequences], batch: Batch, statistics: Statistics, chunk_positions: int, bar: tqdm
) -> dict[str, np.ndarray]:
    """Columns of the batch's response positions, one response after another, in chunks of positions."""
    device = pair.base.model.device
    models = (pair.base, pair.tuned)
    hidden = [  # on two GPUs, at once
        response_hidden_states(split, own, batch) for split, own in zip(models, sequences, strict=True)
    ]
    tokens = torch.tensor([token for row in batch.rows for token in sequences[0].responses[row]], device=device)

    def columns_at(positions: slice | Tensor, wait: bool) -> HostCopy:
        blocks = []
        for split, states in zip(models, hidden, strict=True):
            at = positions if isinstance(positions, slice) else positions.to(states.device)
            blocks.append(split.logits(states[at]).to(device))
        logits = pair.tokens.logits(blocks)
        columns = pair.tokens.with_ids(statistics(*logits, pair.tokens.places(tokens[positions]), wait=wait))
        return HostCopy(columns | pair.tokens.unshared_mass(blocks, logits))

    chunks = []
    for start in range(0, len(tokens), chunk_positions):
        chunks.append(columns_at(slice(start, start + chunk_positions), wait=not _goes_on(device)))
        bar.update(len(tokens[start : start + chunk_positions]))
    arrays = [chunk.arrays() for chunk in chunks]
    columns = {column: np.concatenate([chunk[column] for chunk in arrays]) for column in arrays[0]}
    incomplete = np.flatnonzero(columns.pop("incomplete", False))
    for start in range(0, len(incomplete), chunk_positions):
        again = incomplete[start : start + chunk_positions]
        for column, values in columns_at(torch.from_numpy(again).to(device), wait=True).arrays().items():
            columns[column][again] = values
    return columns


def _goes_on(device: torch.device) -> bool:
    """Whether chunks are computed without waiting for the results of those before."""
    return device.type == "cuda"


def _check_fits(policies: tuple[Policy, Policy], pair: _Pair, rollouts: pl.DataFrame) -> None:
    rows = list(rollouts.select("problem_id", "sample", "response_token_ids").iter_rows())
    for policy, prompts in zip(policies, pair.prompts(rollouts), strict=True):
        context = getattr(policy.model.config, "max_position_embeddings", math.inf)
        for (problem_id, sample, response), prompt in zip(rows, prompts, strict=True):
            where, length = f"problem {problem_id}, sample {sample}", len(prompt) + len(response)
            if not prompt:
                raise StudyError(f"{where}: the prompt has no tokens, so nothing predicts the response's first one")
            if length > context:
                raise StudyError(f"{where}: prompt and response have {length} tokens, the models' context is {context}")


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
