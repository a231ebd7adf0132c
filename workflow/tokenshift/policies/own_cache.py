"""Rows decoded one after another, each with the model's own cache: for models that keep more than keys and values.

Recurrent and hybrid models keep a state that cannot be rolled back by changing a length; others take no position or
no mask for each token. Here a row is a batch of its own. Its state is advanced by the tokens that are asked for alone;
a row that goes back starts again from its prompt.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokenshift.policies.decoded import DecodedTokens, NextTokens


@dataclass
class _State:
    """A model's cache of the first `length` tokens of a row; none of none."""

    cache: object | None = None
    length: int = 0

    def copied(self) -> "_State":
        return _State(copy.deepcopy(self.cache), self.length)


class OwnCachePolicy:
    """A model's caches of `decoded`, a row at a time."""

    keeps = True  # what it has computed
    advances_alone = False  # rows cannot be run along beside others, and drafts would have to be taken back
    span = 1

    def __init__(self, model: PreTrainedModel, vocabulary_size: int, decoded: DecodedTokens):
        self.model, self.vocabulary_size, self.decoded = model, vocabulary_size, decoded
        rows = len(decoded.tokens)
        self.cached = np.zeros(rows, dtype=np.int64)  # tokens of each row that its state is valid for
        self._states = [_State() for _ in range(rows)]
        self._after_prompt = [_State() for _ in range(rows)]  # what a row goes back to
        recurrent = "cache_params" in inspect.signature(model.forward).parameters
        self._cache_name = "cache_params" if recurrent else "past_key_values"
        self.forwards = self.prefills = self.computed = self.needed = 0
        decoded.policy = self

    def borrow(self, row: int, length: int) -> None:
        """Copy the state that lies furthest within the first `length` tokens of `row`, if that is beyond its own."""
        tokens, own = self.decoded.tokens, self.cached[row]
        for other, state in enumerate(self._states):
            reached = state.length
            if own < reached <= min(length, self.cached[other]) and (tokens[other] == tokens[row])[:reached].all():
                own = reached
                self._states[row], self._after_prompt[row] = state.copied(), self._after_prompt[other].copied()
        self.cached[row] = own

    def prefill(self, rows: np.ndarray, ends: np.ndarray) -> None:
        """Bring the states of `rows` to the tokens before `ends`, where a row may go back to later."""
        for row, end in zip(rows, ends, strict=True):
            if self.cached[row] < end:
                self._advance(int(row), int(end), [])
                self._after_prompt[row] = self._states[row].copied()
                self.prefills += 1

    def logits(self, rows: np.ndarray, positions: np.ndarray, lag: int = 0) -> Tensor:
        """Next-token logits (N, V) after the tokens at `positions` of `rows` (N each)."""
        found: dict[tuple[int, int], Tensor] = {}
        for row in np.unique(rows):
            asked = np.unique(positions[rows == row])
            self.cached[row] = min(self.cached[row], asked[0])
            after = self._advance(int(row), int(asked[-1]) + 1, asked.tolist())
            found |= {(int(row), position): logits for position, logits in zip(asked.tolist(), after, strict=True)}
        self.forwards += 1
        return torch.stack([found[int(row), int(position)] for row, position in zip(rows, positions, strict=True)])

    def ahead(self, rows: np.ndarray, positions: np.ndarray, going: np.ndarray, draw: NextTokens, steps: int) -> None:
        """Let `draw` draw a token of each of `rows` from the logits after `positions`; `steps` is 1."""
        draw(self.logits(rows, positions))

    def _advance(self, row: int, end: int, asked: Sequence[int]) -> list[Tensor]:
        """Bring the state of `row` to its first `end` tokens; logits (V,) after each position that is asked."""
        if self._after_prompt[row].length > self.cached[row]:  # it was of another prompt
            self._after_prompt[row] = _State()
        if not self.keeps:
            self._states[row] = _State()
        elif self._states[row].length > self.cached[row]:  # tokens were taken back
            self._states[row] = self._after_prompt[row].copied()
        state = self._states[row]
        after = []
        # A recurrent state goes on by one token at a time; a sequence of them is for its beginning.
        one_by_one = self.model._is_stateful and state.length > 0
        for start in range(state.length, end) if one_by_one else [state.length]:
            stop = start + 1 if one_by_one else end
            tokens = torch.from_numpy(self.decoded.tokens[row, start:stop][None]).to(self.model.device)
            output = self.model(input_ids=tokens, use_cache=True, **{self._cache_name: state.cache})
            state.cache, logits = output[self._cache_name], output.logits[0, :, : self.vocabulary_size]
            after += [logits[position - start] for position in asked if start <= position < stop]
        self.computed += end - state.length
        self.needed = self.computed
        state.length = self.cached[row] = end
        return after

    def bytes_per_token(self) -> int:
        """Memory of a token of one row, known after a forward pass; of a recurrent state, its share."""
        held = {id(tensor): tensor for state in self._states for tensor in _tensors(state.cache)}
        held_bytes = sum(tensor.numel() * tensor.element_size() for tensor in held.values())
        return max(1, held_bytes // max(1, int(self.cached.sum())))


class UncachedPolicy(OwnCachePolicy):
    """A model that computes every row from its beginning each time: for those that go on otherwise than they begin."""

    keeps = False


def _tensors(value: object) -> list[Tensor]:
    """All tensors in a cache."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        inner = value.values()
    else:
        inner = value if isinstance(value, list | tuple) else getattr(value, "__dict__", {}).values()
    return [tensor for part in inner for tensor in _tensors(part)]
