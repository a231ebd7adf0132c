"""Final hidden states of a model along fixed responses, in batches, and its output head apart from its decoder."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import ModelOutput

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


class SplitModel:
    """A causal LM in two parts: its decoder, up to final hidden states, and its head, from there to logits.

    The head is the model's own forward pass in a second model that shares all its modules but the decoder: whatever an
    architecture does after its decoder (biases, scaling, soft-capping) is included. The model itself is left as it is.
    """

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self.decoder = _decoder_of(model)
        self._given = _Given(self.decoder)
        self._head_model = _with_module(model, self.decoder, self._given)

    def hidden_states(self, **inputs: object) -> Tensor:
        """Final hidden states (B, T, H) of the decoder, called with `inputs`."""
        output = self.decoder(**inputs)
        self._given.kind = type(output)
        return output.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) of final hidden states (N, H), which `hidden_states` gave before."""
        self._given.hidden = hidden[None]
        placeholder = torch.zeros(1, 1, dtype=torch.long, device=self.model.device)
        try:
            return self._head_model(input_ids=placeholder, use_cache=False).logits[0]
        finally:
            self._given.hidden = None


class _Given(torch.nn.Module):
    """In a decoder's place: gives hidden states that are known already, as an output of the decoder's own kind."""

    def __init__(self, decoder: torch.nn.Module):
        super().__init__()
        self.__dict__["_decoder"] = decoder  # for whatever else is asked of it; no submodule
        self.kind: type[ModelOutput] = ModelOutput
        self.hidden: Tensor | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_decoder"], name)

    def forward(self, *_: object, **__: object) -> ModelOutput:
        return self.kind(last_hidden_state=self.hidden)


def _decoder_of(model: PreTrainedModel) -> torch.nn.Module:
    """The part of a causal LM (or of the text model of a multi-modal one) that gives final hidden states."""
    decoder = model.get_decoder()
    if decoder is not model:
        return decoder
    return next(child for child in model.children() if isinstance(child, PreTrainedModel))


def _with_module(model: torch.nn.Module, replaced: torch.nn.Module, by: torch.nn.Module) -> torch.nn.Module:
    """A model with the modules of `model`, but for `replaced`, in whose place is `by`; parameters are shared."""
    if model is replaced:
        return by
    twin = copy.copy(model)
    # Where parts of a model lie on several devices, its forward is a wrapper around the original's.
    twin.__dict__.pop("forward", None)
    twin._modules = {
        name: _with_module(child, replaced, by) if _holds(child, replaced) else child
        for name, child in model._modules.items()
    }
    return twin


def _holds(module: torch.nn.Module | None, part: torch.nn.Module) -> bool:
    return module is not None and any(inner is part for inner in module.modules())


def response_hidden_states(split: SplitModel, sequences: Sequences, batch: Batch) -> Tensor:
    """Final hidden states (N, H) that predict the tokens of the batch's responses, one response after another.

    Rows are padded on the right: under causal attention no real position sees the padding.
    """
    model, responses = split.model, [sequences.responses[row] for row in batch.rows]
    prompts = [sequences.prompts[row] for row in batch.rows]
    shared = batch.shared and all(prompt == prompts[0] for prompt in prompts)
    if not shared or len(batch.rows) == 1 or not _keeps_only_keys_and_values(model):
        given = [[*prompt, *response[:-1]] for prompt, response in zip(prompts, responses, strict=True)]
        hidden = split.hidden_states(input_ids=_padded(given).to(model.device), use_cache=False)
        spans = [(len(prompt) - 1, len(tokens)) for prompt, tokens in zip(prompts, given, strict=True)]
        return torch.cat([row[start:end] for row, (start, end) in zip(hidden, spans, strict=True)])
    prompt = torch.tensor(prompts[:1], device=model.device)
    cache = DynamicCache(config=model.config)
    first = split.hidden_states(input_ids=prompt, past_key_values=cache, use_cache=True)[:, -1]
    cache.batch_repeat_interleave(len(responses))
    given = _padded([response[:-1] for response in responses]).to(model.device)
    if given.shape[1] == 0:
        return first.expand(len(responses), -1)
    rest = split.hidden_states(input_ids=given, past_key_values=cache, use_cache=True)
    states = ((first, row[: len(response) - 1]) for row, response in zip(rest, responses, strict=True))
    return torch.cat([state for of_response in states for state in of_response])


def _keeps_only_keys_and_values(model: PreTrainedModel) -> bool:
    """Whether a model's cache of a prompt can be repeated for several responses: recurrent states cannot."""
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    return not model._is_stateful and kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = torch.tensor(row)
    return padded
