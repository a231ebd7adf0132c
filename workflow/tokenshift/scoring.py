"""Two models along fixed responses: every statistic of the scores file, by teacher forcing."""

import math

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from tokenshift.divergence import compare
from tokenshift.errors import StudyError
from tokenshift.generation import Policy
from tokenshift.progress import progress
from tokenshift.schemas import SCORES

CHUNK = 64  # positions compared at once: small blocks of (chunk, V) stay in the processor's cache


@torch.inference_mode()
def score(
    base: Policy,
    tuned: Policy,
    rollouts: pl.DataFrame,
    temperature: float,
    top_p: float,
    top_k: int,
    batch_size: int,
    name: str | None = None,
) -> pa.Table:
    """Score both policies at every response position of `rollouts` (schemas.ROLLOUTS); one row each (schemas.SCORES).

    Rows come in the order of `rollouts`, then by position, whatever the batches. With a `name`, reports progress.

    Raises:
        StudyError: a response token lies outside the shared vocabulary, a response is longer than a model's context, or
            a model gives logits that are not finite; the message names model, problem, sample and position.
    """
    prompts = rollouts["prompt_token_ids"].to_list()
    responses = rollouts["response_token_ids"].to_list()
    keys = list(zip(rollouts["problem_id"], rollouts["sample"], strict=True))
    vocabulary_size = min(base.vocabulary_size, tuned.vocabulary_size)
    _check_fits((base, tuned), prompts, responses, keys, vocabulary_size)
    by_length = sorted(range(len(responses)), key=lambda row: len(prompts[row]) + len(responses[row]))
    parts: list[dict[str, np.ndarray]] = [{} for _ in responses]
    with progress(None, name, "response", total=len(responses)) as bar:
        for start in range(0, len(by_length), batch_size):
            rows = by_length[start : start + batch_size]
            batch = [(prompts[row], responses[row]) for row in rows]
            logits = []
            for which, policy in (("base", base), ("tuned", tuned)):
                block = _response_logits(policy, batch)[:, :vocabulary_size]  # (N, V)
                _check_finite(block, which, [keys[row] for row in rows], [len(responses[row]) for row in rows])
                logits.append(block)
            tokens = torch.tensor([token for _, response in batch for token in response], device=logits[0].device)
            columns = _compare_in_chunks(*logits, tokens, temperature, top_p, top_k)
            ends = np.cumsum([len(response) for _, response in batch])[:-1]
            for column, values in columns.items():
                for row, part in zip(rows, np.split(values, ends), strict=True):
                    parts[row][column] = part
            bar.update(len(rows))
    return _table(parts, keys, responses)


def _response_logits(policy: Policy, batch: list[tuple[list[int], list[int]]]) -> Tensor:
    """Logits (N, V) that predict the response tokens of `batch`, all responses' positions one after another.

    Rows are padded on the right: under causal attention no real position sees the padding.
    """
    device = policy.model.device
    width = max(len(prompt) + len(response) for prompt, response in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    predicts = torch.zeros(len(batch), width, dtype=torch.bool)  # positions whose logits predict a response token
    for row, (prompt, response) in enumerate(batch):
        tokens[row, : len(prompt) + len(response)] = torch.tensor(prompt + response)
        predicts[row, len(prompt) - 1 : len(prompt) + len(response) - 1] = True
    return policy.model(input_ids=tokens.to(device), use_cache=False).logits[predicts.to(device)]


def _compare_in_chunks(
    logits_base: Tensor, logits_tuned: Tensor, tokens: Tensor, temperature: float, top_p: float, top_k: int
) -> dict[str, np.ndarray]:
    if len(tokens) == 0:
        return {}
    chunks = [
        compare(*chunk, temperature, top_p, top_k)
        for chunk in zip(logits_base.split(CHUNK), logits_tuned.split(CHUNK), tokens.split(CHUNK), strict=True)
    ]
    return {column: torch.cat([chunk[column] for chunk in chunks]).cpu().numpy() for column in chunks[0]}


def _check_fits(
    policies: tuple[Policy, Policy],
    prompts: list[list[int]],
    responses: list[list[int]],
    keys: list[tuple[str, int]],
    vocabulary_size: int,
) -> None:
    context = min(getattr(policy.model.config, "max_position_embeddings", math.inf) for policy in policies)
    for (problem_id, sample), prompt, response in zip(keys, prompts, responses, strict=True):
        where = f"problem {problem_id}, sample {sample}"
        if len(prompt) + len(response) > context:
            raise StudyError(f"{where}: {len(prompt)} + {len(response)} tokens exceed the models' context of {context}")
        if max(prompt + response, default=0) >= vocabulary_size:
            raise StudyError(
                f"{where}: token id {max(prompt + response)} lies outside the pair's vocabulary of {vocabulary_size}"
            )


def _check_finite(logits: Tensor, which: str, keys: list[tuple[str, int]], lengths: list[int]) -> None:
    finite = logits.isfinite().all(-1)
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    row = int(np.searchsorted(np.cumsum(lengths), first, side="right"))
    (problem_id, sample), position = keys[row], first - sum(lengths[:row])
    raise StudyError(
        f"the {which} model's logits are not finite at problem {problem_id}, sample {sample}, position {position}"
    )


def _table(parts: list[dict[str, np.ndarray]], keys: list[tuple[str, int]], responses: list[list[int]]) -> pa.Table:
    lengths = [len(response) for response in responses]
    columns: dict[str, pa.Array] = {
        "problem_id": pa.array(np.repeat(np.array([key[0] for key in keys], dtype=object), lengths), pa.string()),
        "sample": pa.array(np.repeat([key[1] for key in keys], lengths), pa.int32()),
        "position": pa.array(np.concatenate([np.arange(length) for length in lengths]), pa.int32()),
        "token_id": pa.array([token for response in responses for token in response], pa.int32()),
    }
    filled = [part for part in parts if part]
    for field in SCORES:
        if field.name in columns:
            continue
        values = np.concatenate([part[field.name] for part in filled]) if filled else np.empty(0)
        if pa.types.is_list(field.type):
            flat = pa.array(values.reshape(-1), field.type.value_type)
            width = values.shape[1] if filled else 0
            offsets = np.arange(0, len(flat) + 1, width) if filled else np.zeros(1)
            columns[field.name] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
        else:
            columns[field.name] = pa.array(values, field.type)
    return pa.table(columns, schema=SCORES)
