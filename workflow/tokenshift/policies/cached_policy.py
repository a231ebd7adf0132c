"""One policy's keys and values of rows that are decoded side by side; how a model is decoded, found by trying."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from tokenshift.errors import NotFinite, StudyError
from tokenshift.policies.captured import Inputs, Passes, Shape, pass_sizes, sent
from tokenshift.policies.decoded import DecodedTokens, NextTokens, RowPolicy
from tokenshift.policies.kv_cache import STEP, RowCache, require_fixed_rope, slots_read, windows
from tokenshift.policies.own_cache import OwnCachePolicy, UncachedPolicy
from tokenshift.policies.row_attention import attending_by_rows

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}  # of logits, in standard deviations; 0.5 in half precision
PADDED = 1.1  # computed positions over needed ones that are put up with
PREFILL = 2048  # tokens, padding included, in one forward pass that only fills the cache


@dataclass(frozen=True)
class Decoding:
    """How a model is decoded, and the memory of one token of a row, in bytes."""

    kind: type[RowPolicy]
    bytes_per_token: int


_found: WeakKeyDictionary[PreTrainedModel, Decoding] = WeakKeyDictionary()


class CachedPolicy:
    """A model's cache of `decoded`; each forward pass runs the tokens that are not cached yet.

    Raises StudyError when keys and values are not all that the model keeps.
    """

    advances_alone = True

    def __init__(self, model: PreTrainedModel, vocabulary_size: int, decoded: DecodedTokens):
        self.model, self.vocabulary_size, self.decoded = model, vocabulary_size, decoded
        rows, longest = decoded.tokens.shape
        self.sizes, self.passes = pass_sizes(model), Passes(model)
        self.span = self.sizes.span
        self.cache = RowCache(rows, self._extent(longest), windows(model))
        self.cached = np.zeros(rows, dtype=np.int64)  # tokens of each row whose keys and values are held
        self.forwards = self.prefills = self.computed = self.needed = 0
        decoded.policy = self

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
        """Run the tokens of `rows` from what is cached to `ends`; logits (N, V) after `positions` of rows[which].

        Rows with much more to compute than others have a forward pass of their own: the others would be padded to them.
        """
        groups = without_much_padding(ends - self.cached[rows], self.sizes.per_pass)
        if len(groups) == 1:
            return self._one_forward(rows, ends, which, positions)
        parts, order = [], []
        for group in groups:
            asked = np.flatnonzero(np.isin(which, group))
            place = np.searchsorted(group, which[asked])
            parts.append(self._one_forward(rows[group], ends[group], place, positions[asked]))
            order.append(asked)
        return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order))).to(parts[0].device)]

    def _one_forward(self, rows: np.ndarray, ends: np.ndarray, which: np.ndarray, positions: np.ndarray) -> Tensor:
        starts = self.cached[rows]
        columns = starts[:, None] + np.arange((ends - starts).max())  # (B, Q)
        real = columns < ends[:, None]
        places = np.minimum(columns, ends[:, None] - 1)
        tokens = self.decoded.tokens[rows[:, None], places]
        shape, inputs = self._inputs(rows, tokens, places, real, which, positions - starts[which], int(ends.max()))
        logits = self._run(shape, inputs)
        self.cached[rows] = ends
        self.needed += int(real.sum())
        return logits[: len(which)]

    def ahead(self, rows: np.ndarray, positions: np.ndarray, going: np.ndarray, draw: NextTokens, steps: int) -> None:
        """Let `draw` draw `steps` tokens of `rows`, one after another, from the logits after `positions` on.

        Rows that are not `going` have the first logits again. The tokens stay on the device.
        """
        drawn = draw(self.logits(rows, positions))
        if steps == 1:
            return
        count, places = len(rows), positions + going
        one = (count, 1)
        everywhere, first = np.arange(count), np.zeros(count, dtype=np.int64)
        last = int(positions.max()) + steps
        own = self.decoded.tokens[rows, positions].reshape(one)
        shape, inputs = self._inputs(
            rows, own, places.reshape(one), np.ones(one, dtype=bool), everywhere, first, last, fixed=True
        )
        moves = sent(going.astype(np.int64), inputs.all.device)[:, None]
        kept = inputs.tokens[:count].clone()
        for step in range(1, steps):
            if step > 1:
                inputs.places[:count] += moves
            inputs.tokens[:count] = torch.where(moves > 0, drawn[:, None].to(kept.device), kept)
            drawn = draw(self._run(shape, inputs)[:count])
        self.forwards += steps - 1
        self.needed += count * (steps - 1)
        self.cached[rows] = positions + 1 + (steps - 1) * going

    def _extent(self, longest: int) -> int:
        """Slots read where the longest row has `longest` tokens."""
        return self.sizes.slots(slots_read(longest))

    def _inputs(
        self,
        rows: np.ndarray,
        tokens: np.ndarray,
        places: np.ndarray,
        real: np.ndarray,
        asked_rows: np.ndarray,
        asked_columns: np.ndarray,
        longest: int,
        fixed: bool = False,
    ) -> tuple[Shape, Inputs]:
        """The shape of a pass and its inputs, on the device; `fixed` for one that is run with changes of its inputs.

        What is given is padded to the shape: with rows that are not there, or there already, and positions that are not
        real. `longest` is one more than the largest position.
        """
        count, width = tokens.shape
        leading = bool((rows == np.arange(count)).all())
        captured = self.sizes.captures(count, width)
        more_rows = min(self.sizes.rows(count), len(self.cached)) - count if captured else 0
        more_columns = self.sizes.width(count, width) - width
        asked = (count + more_rows) * (width + more_columns) if captured else len(asked_rows)
        shape = Shape(count + more_rows, width + more_columns, asked, self._extent(longest), leading)
        others = np.arange(count, shape.rows) if leading else np.repeat(rows[:1], more_rows)
        padding = ((0, more_rows), (0, more_columns))
        unasked = (0, asked - len(asked_rows))
        parts = (
            np.concatenate([rows, others]),
            *(np.pad(values, padding).ravel() for values in (tokens, places, real)),
            np.pad(asked_rows, unasked),
            np.pad(asked_columns, unasked),
        )
        if self.cache.reserve(shape.slots):
            self.passes.forget()
        return shape, self.passes.inputs(shape, np.concatenate(parts), captured or fixed)

    def _run(self, shape: Shape, inputs: Inputs) -> Tensor:
        """Logits (asked, V) of a forward pass over `inputs`."""
        self.computed += shape.rows * shape.width
        return self.passes.run(shape, lambda: self._pass(shape, inputs))

    def _pass(self, shape: Shape, inputs: Inputs) -> Tensor:
        mask = self.cache.select(inputs.rows, shape.leading, inputs.places, inputs.real.bool(), shape.slots)
        if self.model.config.get_text_config(decoder=True)._attn_implementation == "eager":
            mask = {kind: self._added(of_kind) for kind, of_kind in mask.items()}

        def keep_asked(module: torch.nn.Module, args: tuple, output: ModelOutput) -> ModelOutput:
            hidden = output.last_hidden_state
            at = (index.to(hidden.device) for index in (inputs.asked_rows, inputs.asked_columns))
            output.last_hidden_state = hidden[*at][None]
            return output

        hook = self.model.get_decoder().register_forward_hook(keep_asked)
        try:
            with attending_by_rows(self.model):
                output = self.model(
                    input_ids=inputs.tokens,
                    attention_mask=mask if len(mask) > 1 else next(iter(mask.values())),
                    position_ids=inputs.places,
                    past_key_values=self.cache,
                    use_cache=True,
                )
        finally:
            hook.remove()
        return output.logits[0, :, : self.vocabulary_size]

    def _added(self, mask: Tensor) -> Tensor:
        """A mask as what is added to attention scores."""
        lowest = torch.finfo(self.model.dtype).min
        return torch.zeros_like(mask, dtype=self.model.dtype).masked_fill(~mask, lowest)

    def bytes_per_token(self) -> int:
        """Memory of a token of one row, known after a forward pass."""
        return self.cache.bytes_per_slot()


def without_much_padding(widths: np.ndarray, per_pass: int) -> list[np.ndarray]:
    """Rows in groups, each padded to its widest: the computed positions, and `per_pass` for each group, are fewest.

    `widths` are the positions that each row has to compute; the rows of a group are in ascending order. All rows are
    one group where that computes at most PADDED times what they need.
    """
    everything = np.arange(len(widths))
    if len(widths) == 0 or len(widths) * widths.max() <= PADDED * widths.sum() + per_pass:
        return [everything]
    order = np.argsort(-widths, kind="stable")
    descending = widths[order]
    # By how many rows, from the widest, are in groups already: the least cost, and where the last of the groups begins.
    least, begins = np.zeros(len(widths) + 1), np.zeros(len(widths) + 1, dtype=np.int64)
    for end in range(1, len(widths) + 1):
        costs = least[:end] + (end - np.arange(end)) * descending[:end] + per_pass
        begins[end] = costs.argmin()
        least[end] = costs[begins[end]]
    groups, end = [], len(widths)
    while end:
        groups.append(np.sort(order[begins[end] : end]))
        end = begins[end]
    return groups


def bytes_of_row(model: PreTrainedModel, longest: int) -> int:
    """Memory of a row of `longest` tokens. Raises StudyError as `row_policy` does."""
    slots = pass_sizes(model).slots(slots_read(longest)) + STEP
    return slots * how_decoded(model).bytes_per_token


def row_policy(model: PreTrainedModel, vocabulary_size: int, decoded: DecodedTokens) -> RowPolicy:
    """The policy of a model that computes the rows of `decoded`.

    Raises StudyError when the model cannot be decoded with a cache.
    """
    require_fixed_rope(model, decoded.tokens.shape[1])
    return how_decoded(model).kind(model, vocabulary_size, decoded)


@torch.inference_mode()
def how_decoded(model: PreTrainedModel) -> Decoding:
    """How a model is decoded, found by forward passes: its rows side by side, or else one after another.

    The first of CachedPolicy, OwnCachePolicy and UncachedPolicy that gives the logits of the model without a cache.

    Raises NotFinite when the model's logits are not finite, and StudyError, at the first call for a model, when with a
    cache it does not give the logits that it gives without one. That is a question of how it computes, not of its
    weights: while a model is trained in half precision, its rounding errors on the few tokens of this check can outgrow
    any tolerance.
    """
    # From all over the vocabulary: its ends hold special tokens, at which rounding in half precision is far larger.
    tokens = np.arange(1, 7) * model.config.get_text_config().vocab_size // 8
    plain = model(input_ids=torch.from_numpy(tokens[None]).to(model.device), use_cache=False).logits[0]
    if not plain.isfinite().all():
        raise NotFinite(f"{type(model).__name__} {model.config.name_or_path}: its logits are not finite")
    if model in _found:
        return _found[model]
    beginning = model(input_ids=torch.from_numpy(tokens[None, :3]).to(model.device), use_cache=False).logits[0]
    if not (beginning - plain[:3]).abs().max() <= _tolerance(model) * plain.std():
        name = f"{type(model).__name__} {model.config.name_or_path}"
        raise StudyError(f"{name} is no causal LM: later tokens change earlier logits")
    causes = []
    for kind in (CachedPolicy, OwnCachePolicy, UncachedPolicy):
        try:
            error, bytes_per_token = _tried(kind, model, tokens, plain)
        except StudyError as refused:
            causes.append(str(refused))
            continue
        # Recurrent states are computed in float32 whatever the model's precision.
        loosened = 100 if kind is OwnCachePolicy and model.dtype == torch.float64 else 1
        if error <= loosened * _tolerance(model) * plain.std():
            return _found.setdefault(model, Decoding(kind, bytes_per_token))
        causes.append(f"with {kind.__name__} its logits differ by {error:.3g} from those without a cache")
    raise StudyError(
        f"{type(model).__name__} {model.config.name_or_path} cannot be decoded with a cache: {'; '.join(causes)}. Its "
        "responses can be scored if they come from elsewhere"
    )


def _tolerance(model: PreTrainedModel) -> float:
    return TOLERANCE.get(model.dtype, 0.5)


def _tried(kind: type[RowPolicy], model: PreTrainedModel, tokens: np.ndarray, plain: Tensor) -> tuple[Tensor, int]:
    """Largest error of the logits of `tokens` with a cache, and bytes of a token; rows that are changed and taken back.

    Raises StudyError when this kind of cache is not for this model.
    """
    decoded = DecodedTokens(2, len(tokens))
    try:
        cached = kind(model, plain.shape[-1], decoded)
        decoded.begin({0: tokens[:3][::-1], 1: tokens[:3]})
        cached.logits(np.array([0, 1]), np.array([2, 2]))
        decoded.replace(0, tokens)
        decoded.replace(1, tokens)
        rows, positions = np.array([0, 0, 1]), np.array([4, 5, 5])
        found = cached.logits(rows, positions, lag=len(tokens))
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise StudyError(f"{kind.__name__} fails: {' '.join(str(error).split())[:200]}") from None
    return (found - plain[positions]).abs().max(), cached.bytes_per_token()
