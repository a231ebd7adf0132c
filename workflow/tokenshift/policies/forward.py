"""Final hidden states of a model along fixed responses, in batches, and its output head apart from its decoder."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

# A prompt is computed once for its responses where that saves this share of their tokens, and they fill this share of a
# batch: the responses to several prompts no longer share a forward pass.
WORTH_SHARING, WELL_FILLED = 0.1, 0.25


@dataclass(frozen=True)
class Sequences:
    """Rows of prompt and response token ids."""

    prompts: Sequence[Sequence[int]]
    responses: Sequence[Sequence[int]]

    def length(self, row: int) -> int:
        """Tokens of prompt and response."""
        return len(self.prompts[row]) + len(self.responses[row])


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass; `shared` if they have one prompt, which is then computed once."""

    rows: list[int]
    shared: bool


def plan(sequences: Sequences, batch_tokens: int) -> list[Batch]:
    """Batches of all rows with a response: by length, rows times the longest at most `batch_tokens`, at least a row."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(sequences.prompts):
        if sequences.responses[row]:
            by_prompt.setdefault(tuple(prompt), []).append(row)
    batches, together = [], []
    for rows in by_prompt.values():
        prompt, total = len(sequences.prompts[rows[0]]), sum(map(sequences.length, rows))
        if (len(rows) - 1) * prompt >= WORTH_SHARING * total and total >= WELL_FILLED * batch_tokens:
            batches += [Batch(part, True) for part in _cut(rows, sequences, batch_tokens)]
        else:
            together += rows
    return batches + [Batch(rows, False) for rows in _cut(together, sequences, batch_tokens)]


def _cut(rows: list[int], sequences: Sequences, batch_tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for row in sorted(rows, key=sequences.length):
        if batch and (len(batch) + 1) * sequences.length(row) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def response_hidden_states(model: PreTrainedModel, sequences: Sequences, batch: Batch) -> Tensor:
    """Final hidden states (N, H) that predict the tokens of the batch's responses, one response after another.

    Rows are padded on the right: under causal attention no real position sees the padding.
    """
    responses = [sequences.responses[row] for row in batch.rows]
    if not batch.shared or len(batch.rows) == 1 or model._is_stateful:  # recurrent states have no cache to repeat
        prompts = [sequences.prompts[row] for row in batch.rows]
        given = [[*prompt, *response[:-1]] for prompt, response in zip(prompts, responses, strict=True)]
        hidden = model.get_decoder()(input_ids=_padded(given).to(model.device), use_cache=False).last_hidden_state
        spans = [(len(prompt) - 1, len(tokens)) for prompt, tokens in zip(prompts, given, strict=True)]
        return torch.cat([row[start:end] for row, (start, end) in zip(hidden, spans, strict=True)])
    prompt = torch.tensor([sequences.prompts[batch.rows[0]]], device=model.device)
    cache = DynamicCache(config=model.config)
    first = model.get_decoder()(input_ids=prompt, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
    cache.batch_repeat_interleave(len(responses))
    given = _padded([response[:-1] for response in responses]).to(model.device)
    if given.shape[1] == 0:
        return first.expand(len(responses), -1)
    rest = model.get_decoder()(input_ids=given, past_key_values=cache, use_cache=True).last_hidden_state
    states = ((first, row[: len(response) - 1]) for row, response in zip(rest, responses, strict=True))
    return torch.cat([state for of_response in states for state in of_response])


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = torch.tensor(row)
    return padded


@contextlib.contextmanager
def own_head(model: PreTrainedModel) -> Iterator[Callable[[Tensor], Tensor]]:
    """From final hidden states (N, H) to logits (N, V), by the model's own forward with its decoder stepping aside.

    Whatever an architecture does after its decoder (biases, scaling, soft-capping) is thereby included.
    """
    decoder = model.get_decoder()
    replaced = decoder.__dict__.get("forward")  # where parts of the model lie on several devices, a wrapper
    given: list[Tensor] = []
    decoder.forward = lambda *args, **kwargs: BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=given[-1])
    placeholder = torch.zeros(1, 1, dtype=torch.long, device=model.device)

    def head(hidden: Tensor) -> Tensor:
        given[:] = [hidden[None]]
        return model(input_ids=placeholder, use_cache=False).logits[0]

    try:
        yield head
    finally:
        if replaced is None:
            del decoder.forward
        else:
            decoder.forward = replaced
