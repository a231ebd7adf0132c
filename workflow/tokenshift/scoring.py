"""Two models along fixed responses: every statistic of the scores file, by teacher forcing.

The models' hidden states are computed once per batch and kept at response positions only; both output heads and all
statistics then run over small chunks of positions, so nothing of size (response, vocabulary) ever exists.
"""

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from tokenshift.comparison import Settings, compare
from tokenshift.errors import StudyError
from tokenshift.generation import Policy
from tokenshift.progress import progress
from tokenshift.schemas import SCORES


@torch.inference_mode()
def score(
    base: Policy,
    tuned: Policy,
    rollouts: pl.DataFrame,
    settings: Settings,
    batch_tokens: int,
    chunk_positions: int,
    name: str | None = None,
) -> pa.Table:
    """Score both policies at every response position of `rollouts` (schemas.ROLLOUTS); one row each (schemas.SCORES).

    Rows come in the order of `rollouts`, then by position, whatever the batches. With a `name`, reports progress.

    Args:
        settings: of the truncated distributions and candidate lists.
        batch_tokens: largest number of tokens, padding included, in one forward pass (at least one response).
        chunk_positions: positions whose logits exist at once.

    Raises:
        StudyError: a token lies outside the shared vocabulary, a response is longer than a model's context, or a model
            gives logits that are not finite; the message names model, problem, sample and position.
    """
    sequences = [
        prompt + response for prompt, response in rollouts.select("prompt_token_ids", "response_token_ids").iter_rows()
    ]
    lengths = rollouts["response_token_ids"].list.len().to_list()
    keys = list(zip(rollouts["problem_id"], rollouts["sample"], strict=True))
    vocabulary_size = min(base.vocabulary_size, tuned.vocabulary_size)
    _check_fits((base, tuned), sequences, keys, vocabulary_size)
    parts: list[dict[str, np.ndarray]] = [{} for _ in sequences]
    with progress(None, name, "token", total=sum(lengths)) as bar:
        for rows in _batches(sequences, batch_tokens):
            batch, counts = [sequences[row] for row in rows], [lengths[row] for row in rows]
            hidden = [_response_hidden_states(policy.model, batch, counts) for policy in (base, tuned)]
            tokens = torch.tensor(
                [token for row in rows for token in sequences[row][len(sequences[row]) - lengths[row] :]]
            )
            chunks = []
            with _own_head(base.model) as base_head, _own_head(tuned.model) as tuned_head:
                for start in range(0, len(tokens), chunk_positions):
                    chunk = slice(start, start + chunk_positions)
                    blocks = (base_head(hidden[0][chunk]), tuned_head(hidden[1][chunk]))
                    logits = [block[:, :vocabulary_size].to(base.model.device) for block in blocks]
                    columns = compare(*logits, tokens[chunk].to(base.model.device), settings)
                    chunks.append({column: values.cpu().numpy() for column, values in columns.items()})
                    bar.update(len(tokens[chunk]))
            _check_finite(chunks, [keys[row] for row in rows], counts)
            for column in chunks[0] if chunks else ():
                values = np.concatenate([chunk[column] for chunk in chunks])
                for row, part in zip(rows, np.split(values, np.cumsum(counts)[:-1]), strict=True):
                    parts[row][column] = part
    return _table(parts, keys, rollouts)


def positions_within(memory_mb: int, vocabulary_size: int) -> int:
    """Positions whose logits and statistics fit into `memory_mb`: about eight (positions, V) blocks of float32."""
    return max(8, memory_mb * 10**6 // (8 * 4 * vocabulary_size))


def _batches(sequences: list[list[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Rows by length, cut so that rows times the longest stay within `batch_tokens`."""
    batch: list[int] = []
    for row in sorted(range(len(sequences)), key=lambda row: len(sequences[row])):
        if batch and (len(batch) + 1) * len(sequences[row]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _response_hidden_states(model: PreTrainedModel, sequences: list[list[int]], lengths: list[int]) -> Tensor:
    """Final hidden states (N, H) that predict the last `lengths` tokens of each of `sequences`, one after another.

    Rows are padded on the right: under causal attention no real position sees the padding.
    """
    width = max(map(len, sequences))
    tokens = torch.zeros(len(sequences), width, dtype=torch.long)
    predicts = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
        predicts[row, len(sequence) - 1 - length : len(sequence) - 1] = True
    hidden = model.get_decoder()(input_ids=tokens.to(model.device), use_cache=False).last_hidden_state
    return hidden[predicts.to(hidden.device)]


@contextlib.contextmanager
def _own_head(model: PreTrainedModel):
    """From final hidden states (N, H) to logits (N, V), by the model's own forward with its decoder stepping aside.

    Whatever an architecture does after its decoder (biases, scaling, soft-capping) is thereby included.
    """
    decoder = model.get_decoder()
    given: list[Tensor] = []
    decoder.forward = lambda *args, **kwargs: BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=given[-1])
    placeholder = torch.zeros(1, 1, dtype=torch.long, device=model.device)

    def head(hidden: Tensor) -> Tensor:
        given[:] = [hidden[None]]
        return model(input_ids=placeholder, use_cache=False).logits[0]

    try:
        yield head
    finally:
        del decoder.forward


def _check_fits(
    policies: tuple[Policy, Policy], sequences: list[list[int]], keys: list[tuple[str, int]], vocabulary_size: int
) -> None:
    context = min(getattr(policy.model.config, "max_position_embeddings", math.inf) for policy in policies)
    for (problem_id, sample), sequence in zip(keys, sequences, strict=True):
        where = f"problem {problem_id}, sample {sample}"
        if len(sequence) > context:
            raise StudyError(
                f"{where}: prompt and response have {len(sequence)} tokens, the models' context is {context}"
            )
        if max(sequence, default=0) >= vocabulary_size:
            raise StudyError(
                f"{where}: token id {max(sequence)} lies outside the pair's vocabulary of {vocabulary_size}"
            )


def _check_finite(chunks: list[dict[str, np.ndarray]], keys: list[tuple[str, int]], lengths: list[int]) -> None:
    for which in ("base", "tuned"):
        entropies = np.concatenate([chunk[f"entropy_{which}"] for chunk in chunks]) if chunks else np.empty(0)
        broken = np.flatnonzero(~np.isfinite(entropies))
        if len(broken):
            row = int(np.searchsorted(np.cumsum(lengths), broken[0], side="right"))
            (problem_id, sample), position = keys[row], broken[0] - sum(lengths[:row])
            raise StudyError(
                f"the {which} model's logits are not finite at problem {problem_id}, sample {sample}, "
                f"position {position}"
            )


def _table(parts: list[dict[str, np.ndarray]], keys: list[tuple[str, int]], rollouts: pl.DataFrame) -> pa.Table:
    responses = rollouts["response_token_ids"]
    lengths = responses.list.len().to_list()
    filled = [part for part in parts if part]
    columns: dict[str, pa.Array] = {
        "problem_id": pa.array(np.repeat(np.array([key[0] for key in keys], dtype=object), lengths), pa.string()),
        "sample": pa.array(np.repeat([key[1] for key in keys], lengths), pa.int32()),
        "position": pa.array(np.concatenate([np.arange(length) for length in lengths]), pa.int32()),
        "token_id": pa.array(responses.explode().drop_nulls().to_numpy(), pa.int32()),
    }
    for field in SCORES:
        if field.name in columns:
            continue
        if not filled:
            columns[field.name] = pa.array([], field.type)
        elif pa.types.is_list(field.type):
            values = np.concatenate([part[field.name] for part in filled])
            flat = pa.array(values.ravel(), field.type.value_type)
            offsets = pa.array(np.arange(0, values.size + 1, values.shape[1]), pa.int32())
            columns[field.name] = pa.ListArray.from_arrays(offsets, flat)
        else:
            columns[field.name] = pa.array(np.concatenate([part[field.name] for part in filled]), field.type)
    return pa.table(columns, schema=SCORES)
