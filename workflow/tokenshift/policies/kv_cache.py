"""Keys and values of many rows that advance independently: the token at position t of a row lies in slot t of it.

A query at position t attends to slots 0 to t of its own row alone. Rolling a row back is therefore a change of its
length: what lies in later slots is stale, never attended to, and overwritten when the row comes there again.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from tokenshift.errors import StudyError

STEP = 32  # slots: keys and values are read, and grow, in multiples of this
MASKED_ATTENTION = ("sdpa", "eager")  # implementations that take a mask per query
LENGTH_DEPENDENT_ROPE = {"dynamic": "max_position_embeddings", "longrope": "original_max_position_embeddings"}

Window = int | None  # slots that a query sees, its own included; None for all


def slots_read(longest: int) -> int:
    """Slots that are read where the longest row has `longest` tokens."""
    return -(-longest // STEP) * STEP


class Slots:
    """Where one forward pass writes and reads, shared by all layers."""

    def __init__(self, rows: int):
        self.total_rows = rows
        self.capacity = 2 * STEP
        self.rows = self.places = torch.empty(0)  # (B,) rows of the batch; (B, Q) slots that its tokens are written to
        self.leading = True  # whether the batch is rows 0 to B - 1
        self.extent = 0  # slots read


class RowLayer(CacheLayerMixin):
    """Keys and values of one layer: two tensors (rows, heads, capacity, dim)."""

    is_sliding = False

    def __init__(self, slots: Slots):
        super().__init__()
        self.slots = slots

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for states of this shape."""
        rows, capacity = self.slots.total_rows, self.slots.capacity
        self.keys, self.values = (
            states.new_zeros(rows, states.shape[1], capacity, states.shape[3]) for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Write the states (B, heads, Q, dim) of the batch; all that it may attend to, (B, heads, extent, dim)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.keys.shape[2] < self.slots.capacity:
            self.keys, self.values = (_grown(old, self.slots.capacity) for old in (self.keys, self.values))
        rows, places = (index.to(key_states.device) for index in (self.slots.rows, self.slots.places))
        for held, states in ((self.keys, key_states), (self.values, value_states)):
            held[rows[:, None], :, places] = states.transpose(1, 2)
        read = slice(len(rows)) if self.slots.leading else rows
        return self.keys[read, :, : self.slots.extent], self.values[read, :, : self.slots.extent]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` slots of one row to another."""
        for held in (self.keys, self.values):
            held[target, :, :length] = held[source, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Slots that a mask covers, and the first of them."""
        return self.slots.extent, 0

    def get_seq_length(self) -> int:
        """Slots read; positions are always given beside."""
        return self.slots.extent

    def get_max_length(self) -> int:
        """-1: grows as needed."""
        return -1


def _grown(held: Tensor, capacity: int) -> Tensor:
    larger = held.new_zeros(*held.shape[:2], capacity, held.shape[3])
    larger[:, :, : held.shape[2]] = held
    return larger


class RowCache(Cache):
    """The cache of one model for a number of rows, as transformers' models use it."""

    def __init__(self, rows: int, longest: int, windows: Mapping[str, Window]):
        """`longest`: slots that are ever read. `windows`: how far the layers of each kind look back."""
        self.slots = Slots(rows)
        self._longest, self._windows = longest, windows
        super().__init__(layer_class_to_replicate=partial(RowLayer, self.slots))

    def reserve(self, extent: int) -> bool:
        """Let `extent` slots be read from now on, with at least one beyond; whether keys and values move for it."""
        if extent < self.slots.capacity:
            return False
        grown = max(extent, self.slots.capacity * 5 // 4 // STEP * STEP)
        self.slots.capacity = max(extent, min(grown, self._longest)) + STEP
        return True

    def select(self, rows: Tensor, leading: bool, positions: Tensor, real: Tensor, extent: int) -> dict[str, Tensor]:
        """Prepare a forward pass over tokens of `rows` (B,) at `positions` (B, Q), which reads `extent` slots.

        Returns the mask (B, 1, Q, extent) of each kind of layers: a query sees the slots up to its own, within a window
        the last ones alone.

        Padding, where `real` (B, Q) is false, is written to the last slot, which no token uses. `leading` says that the
        rows are 0 to B - 1, which are read without a copy. There must be room (`reserve`).
        """
        slots = self.slots
        slots.rows, slots.leading, slots.extent = rows, leading, extent
        slots.places = positions.where(real, slots.capacity - 1)
        ahead = positions[:, None, :, None] - torch.arange(extent, device=positions.device)
        return {
            kind: (ahead >= 0) if window is None else (ahead >= 0) & (ahead < window)
            for kind, window in self._windows.items()
        }

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` slots of one row to another."""
        for layer in self.layers:
            layer.copy(source, target, length)

    def bytes_per_slot(self) -> int:
        """Memory of one slot of one row over all layers, known after a forward pass."""
        held = [states for layer in self.layers for states in (layer.keys, layer.values)]
        return sum(states.shape[1] * states.shape[3] * states.element_size() for states in held)


def windows(model: PreTrainedModel) -> dict[str, Window]:
    """How far each kind of attention layers of `model` looks back, by the names in its configuration's layer_types.

    Raises StudyError, naming the model, when keys and values are not all it keeps of a sequence.
    """
    config = model.config.get_text_config(decoder=True)

    def refuse(reason: str) -> NoReturn:
        name = f"{type(model).__name__} {model.config.name_or_path}".strip()
        raise StudyError(f"{name} cannot be decoded in rows that advance independently: {reason}")

    arguments = inspect.signature(model.forward).parameters
    if not {"past_key_values", "position_ids", "attention_mask"} <= set(arguments) or getattr(config, "alibi", False):
        refuse("its forward pass takes no cache, or no position for each token")
    if config._attn_implementation not in MASKED_ATTENTION:
        refuse(f"attention '{config._attn_implementation}' takes no mask per query; load it with 'sdpa'")
    if "chunked_attention" in (getattr(config, "layer_types", None) or []):
        refuse("its attention is cut into chunks of positions")
    found: dict[str, Window] = {}
    for layer in DynamicCache(config=model.config).layers:
        if type(layer) is DynamicSlidingWindowLayer:
            found["sliding_attention"] = layer.sliding_window
        elif type(layer) is DynamicLayer:
            found["full_attention"] = None
        else:
            refuse(f"a layer of kind {type(layer).__name__} keeps more than keys and values, or less")
    return found or {"full_attention": None}


def require_fixed_rope(model: PreTrainedModel, longest: int) -> None:
    """Raise StudyError, naming the model, when in sequences of `longest` tokens rotations depend on the longest."""
    config = model.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in rope.values() if all(isinstance(value, dict) for value in rope.values()) else [rope]:
        limit = LENGTH_DEPENDENT_ROPE.get(parameters.get("rope_type"))
        trained = parameters.get(limit, getattr(config, limit, longest)) if limit else longest
        if trained < longest:
            name = f"{type(model).__name__} {model.config.name_or_path}".strip()
            raise StudyError(
                f"{name} cannot be decoded: beyond {trained} tokens its rotary embedding depends on the longest row, "
                f"and the run has {longest}; lower max_new_tokens"
            )
