"""The tokens of rows that are decoded side by side, and one policy's keys and values of them."""

from collections import deque
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from tokenshift.errors import NotFinite, StudyError
from tokenshift.policies.kv_cache import RowCache, require_plain_cache

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}  # of logits, in standard deviations; 0.5 in half precision
PREFILL = 2048  # tokens, padding included, in one forward pass that only fills the cache

_checked: WeakKeyDictionary[PreTrainedModel, int] = (
    WeakKeyDictionary()
)  # by model: bytes of one token's keys and values


class DecodedTokens:
    """Tokens of the rows being decoded, prompts and responses; what policies have cached of them follows every change.

    The active rows are always the first ones. Tokens beyond a row's own length may be stale.
    """

    def __init__(self, rows: int, longest: int):
        self.tokens = np.zeros((rows, longest), dtype=np.int64)
        self.active = rows
        self.policies: list[CachedPolicy] = []

    def refill(self, finished: Sequence[int], queue: deque[int]) -> tuple[dict[int, int], dict[int, int]]:
        """What becomes of finished rows: the prompt that each takes from `queue`, or else the row that moves into it.

        With the queue empty, the last active rows move, and fewer rows are active.
        """
        begun = {row: queue.popleft() for row in sorted(finished)[: len(queue)]}
        empty = set(finished) - set(begun)
        self.active -= len(empty)
        sources = [row for row in range(self.active, self.active + len(empty)) if row not in empty]
        return begun, dict(zip((row for row in sorted(empty) if row < self.active), sources, strict=True))

    def write(self, rows: np.ndarray, positions: np.ndarray, tokens: np.ndarray) -> None:
        """Put `tokens` at `positions` of `rows` (one each); caches of these rows are valid up to there."""
        self.tokens[rows, positions] = tokens
        for policy in self.policies:
            policy.cached[rows] = np.minimum(policy.cached[rows], positions)

    def replace(self, row: int, tokens: Sequence[int]) -> None:
        """Make `tokens` the sequence of `row`; caches stay valid up to the first token that changes."""
        same = common_prefix(self.tokens[row, : len(tokens)], np.asarray(tokens))
        self.tokens[row, same : len(tokens)] = tokens[same:]
        for policy in self.policies:
            policy.cached[row] = min(policy.cached[row], same)

    def begin(self, prompts: dict[int, Sequence[int]]) -> None:
        """Make prompts the sequences of rows and cache all but their last tokens, each distinct prompt once."""
        for row, prompt in prompts.items():
            self.replace(row, prompt)
            self._borrow(row, len(prompt) - 1)
        leaders = {tuple(prompt): row for row, prompt in reversed(prompts.items())}
        for policy in self.policies:
            policy.prefill(
                np.array([*leaders.values()], dtype=np.int64), np.array([len(prompt) - 1 for prompt in leaders])
            )
        for row, prompt in prompts.items():
            self._borrow(row, len(prompt) - 1)

    def move(self, target: int, source: int, length: int) -> None:
        """Let `target` hold what `source` does, its first `length` tokens."""
        self.replace(target, self.tokens[source, :length])
        self._borrow(target, length)

    def _borrow(self, row: int, length: int) -> None:
        for policy in self.policies:
            policy.borrow(row, length)


def common_prefix(tokens: np.ndarray, others: np.ndarray) -> int:
    """How many first tokens of two arrays of one length agree."""
    differ = tokens != others
    return int(differ.argmax()) if differ.any() else len(tokens)


class CachedPolicy:
    """A model's cache of `decoded`; each forward pass runs the tokens that are not cached yet."""

    def __init__(self, model: PreTrainedModel, vocabulary_size: int, decoded: DecodedTokens):
        self.model, self.vocabulary_size, self.decoded = model, vocabulary_size, decoded
        rows, longest = decoded.tokens.shape
        require_plain_cache(model, longest)
        self.cache = RowCache(rows, longest)
        self.cached = np.zeros(rows, dtype=np.int64)  # tokens of each row whose keys and values are held
        self.forwards = self.prefills = 0
        decoded.policies.append(self)

    def borrow(self, row: int, length: int) -> None:
        """Copy keys and values of the first `length` tokens of `row`, or as many as the row most alike has cached."""
        differ = self.decoded.tokens[:, :length] != self.decoded.tokens[row, :length]
        same = np.where(differ.any(axis=1), differ.argmax(axis=1) if length else 0, length)
        held = np.minimum(same, self.cached)
        source = int(held.argmax())
        if held[source] > self.cached[row]:
            self.cache.copy(source, row, int(held[source]))
            self.cached[row] = held[source]

    def prefill(self, rows: np.ndarray, ends: np.ndarray) -> None:
        """Cache the tokens of `rows` before `ends`."""
        while (behind := self.cached[rows] < ends).any():
            rows, ends = rows[behind], ends[behind]
            now = np.minimum(ends, self.cached[rows] + max(1, PREFILL // len(rows)))
            self._forward(rows, now, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
            self.prefills += 1

    def logits(self, rows: np.ndarray, positions: np.ndarray, lag: int = 0) -> Tensor:
        """Next-token logits (N, V) after the tokens at `positions` of `rows` (N each), in one forward pass.

        Rows with more than `lag` tokens to cache before their first position are prefilled first.
        """
        batch, which = np.unique(rows, return_inverse=True)
        first, last = np.full(len(batch), np.iinfo(np.int64).max), np.zeros(len(batch), dtype=np.int64)
        np.minimum.at(first, which, positions)
        np.maximum.at(last, which, positions)
        self.cached[batch] = np.minimum(self.cached[batch], first)
        behind = first - self.cached[batch] > lag
        self.prefill(batch[behind], first[behind])
        self.forwards += 1
        return self._forward(batch, last + 1, which, positions)

    def _forward(self, rows: np.ndarray, ends: np.ndarray, which: np.ndarray, positions: np.ndarray) -> Tensor:
        """Run the tokens of `rows` from what is cached to `ends`; logits after `positions` of rows[which]."""
        device = self.model.device
        starts = self.cached[rows]
        columns = starts[:, None] + np.arange((ends - starts).max())  # (B, Q)
        real = columns < ends[:, None]
        places = np.minimum(columns, ends[:, None] - 1)
        tokens = self.decoded.tokens[rows[:, None], places]
        index, place, is_real, token, batch_row, column = (
            torch.from_numpy(array).to(device)
            for array in (rows, places, real, tokens, which, positions - starts[which])
        )
        leading = bool((rows == np.arange(len(rows))).all())
        mask = self.cache.select(index, leading, place, is_real, int(ends.max()))
        if self.model.config._attn_implementation == "eager":
            mask = torch.zeros_like(mask, dtype=self.model.dtype).masked_fill(~mask, torch.finfo(self.model.dtype).min)

        def keep_asked(module: torch.nn.Module, args: tuple, output: ModelOutput) -> ModelOutput:
            hidden = output.last_hidden_state
            output.last_hidden_state = hidden[batch_row.to(hidden.device), column.to(hidden.device)][None]
            return output

        hook = self.model.get_decoder().register_forward_hook(keep_asked)
        try:
            output = self.model(
                input_ids=token, attention_mask=mask, position_ids=place, past_key_values=self.cache, use_cache=True
            )
        finally:
            hook.remove()
        self.cached[rows] = ends
        return output.logits[0, :, : self.vocabulary_size]


@torch.inference_mode()
def probe_cache(model: PreTrainedModel) -> int:
    """Check by forward passes that a model can be decoded with a cache; bytes of one token's keys and values.

    Raises NotFinite when the model's logits are not finite, and StudyError, at the first call for a model, when with
    the cache it does not give the logits that it gives without one. That is a question of how it computes, not of its
    weights: while a model is trained in half precision, its rounding errors on the few tokens of this check can outgrow
    any tolerance.
    """
    # From all over the vocabulary: its ends hold special tokens, at which rounding in half precision is far larger.
    tokens = np.arange(1, 7) * model.config.get_text_config().vocab_size // 8
    plain = model(input_ids=torch.from_numpy(tokens[None]).to(model.device), use_cache=False).logits[0]
    if not plain.isfinite().all():
        raise NotFinite(f"{type(model).__name__} {model.config.name_or_path}: its logits are not finite")
    if model in _checked:
        return _checked[model]
    decoded = DecodedTokens(2, len(tokens))
    cached = CachedPolicy(model, plain.shape[-1], decoded)
    decoded.begin({0: tokens[:3][::-1], 1: tokens[:3]})
    cached.logits(np.array([0, 1]), np.array([2, 2]))
    decoded.replace(0, tokens)
    decoded.replace(1, tokens)
    rows, positions = np.array([0, 0, 1]), np.array([4, 5, 5])
    error = (cached.logits(rows, positions, lag=len(tokens)) - plain[positions]).abs().max()
    if not error <= TOLERANCE.get(model.dtype, 0.5) * plain.std():
        raise StudyError(
            f"{type(model).__name__} {model.config.name_or_path} cannot be decoded in rows that advance independently: "
            f"with a cache its logits differ by {error:.3g} from those without"
        )
    _checked[model] = cached.cache.bytes_per_slot()
    return _checked[model]
