"""Forward passes over cached rows, of few shapes: on a GPU each shape is captured once, as a CUDA graph.

A model of billions of parameters is decoded by thousands of small kernels a token, which Python launches more slowly
than a GPU runs them. A captured pass is launched at once. It has fixed shapes and reads its inputs where it read them
when it was captured, so sizes are rounded up to a few, and rows that are not there are computed on a slot that nothing
reads. On a CPU passes have the sizes that they need, and run as they are.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

Capture = Callable[[Callable[[], Tensor], object], tuple[Callable[[], None], Tensor]]


@dataclass(frozen=True)
class PassSizes:
    """Which sizes forward passes have on a device.

    Args:
        rounded: whether sizes are rounded up to a few.
        span: tokens of a row that are drawn before the host looks at them.
        per_pass: positions that cost as much as a forward pass of its own.
    """

    rounded: bool
    span: int
    per_pass: int

    def rows(self, rows: int) -> int:
        """Rows computed for so many."""
        return _few(rows) if self.rounded else rows

    def captures(self, rows: int, width: int) -> bool:
        """Whether a pass over `width` positions of each row is one of few: larger ones keep a GPU busy anyway."""
        return self.rounded and _few(rows) * _few(width) <= CAPTURED

    def width(self, rows: int, width: int) -> int:
        """Positions of each row that are computed for so many."""
        return _few(width) if self.captures(rows, width) else width

    def slots(self, slots: int) -> int:
        """Slots of the cache that are read for so many."""
        if not self.rounded:
            return slots
        step = max(LEAST_SLOTS, 2 ** (slots.bit_length() - 3))
        return -(-slots // step) * step


ON_CPU = PassSizes(rounded=False, span=1, per_pass=32)
ON_GPU = PassSizes(rounded=True, span=8, per_pass=512)
CAPTURED = 512  # positions of the largest pass that is captured
LEAST_SLOTS = 256


def _few(size: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, ... that is not below `size`."""
    power = 1 << (size - 1).bit_length()
    return power * 3 // 4 if power > 2 and size <= power * 3 // 4 else power


def pass_sizes(model: PreTrainedModel) -> PassSizes:
    """The sizes of passes on the device of `model`."""
    return ON_GPU if model.device.type == "cuda" else ON_CPU


def how_captured(model: PreTrainedModel) -> Capture | None:
    """How forward passes of `model` are captured; None on a CPU, and where the model lies on several devices."""
    spread = getattr(model, "hf_device_map", None) or getattr(model, "_tp_size", None)
    return None if model.device.type != "cuda" or spread else cuda_graph


def cuda_graph(function: Callable[[], Tensor], pool: object) -> tuple[Callable[[], None], Tensor]:
    """What runs `function` again on the same inputs, and where its result lies then. It has been called before."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # Other threads, such as those of a process group, may go on using the GPU meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = function()
    finally:
        torch.cuda.set_stream(stream)  # which a capture that fails does not give back
    return graph.replay, result


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """`values` on a device; on a GPU without waiting for what it is doing."""
    given = torch.from_numpy(values)
    return given.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else given


@dataclass(frozen=True)
class Shape:
    """Sizes of a forward pass: rows, positions of each, logits asked for, and slots read of the cache.

    leading: whether the rows are the first ones of the cache.
    """

    rows: int
    width: int
    asked: int
    slots: int
    leading: bool


@dataclass(frozen=True)
class Inputs:
    """What a forward pass reads: views of one tensor, which is filled by one copy.

    Args:
        rows: (B,) rows of the cache.
        tokens: (B, Q) ids. places: (B, Q) their positions. real: (B, Q) 0 where there is none.
        asked_rows, asked_columns: (N,) where in the batch logits are asked for.
    """

    all: Tensor
    rows: Tensor
    tokens: Tensor
    places: Tensor
    real: Tensor
    asked_rows: Tensor
    asked_columns: Tensor

    @classmethod
    def within(cls, all: Tensor, shape: Shape) -> "Inputs":
        """The inputs of a pass of `shape`, one after another in `all`."""
        positions = shape.rows * shape.width
        rows, *by_position, asked_rows, asked_columns = all.split(
            [shape.rows, positions, positions, positions, shape.asked, shape.asked]
        )
        return cls(all, rows, *(part.view(shape.rows, shape.width) for part in by_position), asked_rows, asked_columns)


class _Kept:
    """A pass that is run again and again: its inputs, and once captured how to run it and where its logits are."""

    def __init__(self, inputs: Inputs):
        self.inputs = inputs
        self.runs = 0
        self.replay: Callable[[], None] | None = None
        self.logits: Tensor | None = None


class Passes:
    """The passes of one model over one cache, by shape."""

    def __init__(self, model: PreTrainedModel):
        self.device, self.capture = model.device, how_captured(model)
        self._kept: dict[Shape, _Kept] = {}
        self._pool = torch.cuda.graph_pool_handle() if self.capture is cuda_graph else None

    def forget(self) -> None:
        """Drop what was captured: the cache has moved."""
        self._kept.clear()

    def inputs(self, shape: Shape, values: np.ndarray, again: bool) -> Inputs:
        """`values`, in the order of Inputs, on the device; at one place always, if their shape is seen `again`."""
        on_device = sent(values, self.device)
        if shape in self._kept:
            kept = self._kept[shape].inputs
            kept.all.copy_(on_device)
            return kept
        inputs = Inputs.within(on_device, shape)
        if again:
            self._kept[shape] = _Kept(inputs)
        return inputs

    def run(self, shape: Shape, function: Callable[[], Tensor]) -> Tensor:
        """The logits (N, V) that `function` computes from the inputs of `shape`, captured from its second run on."""
        kept = self._kept.get(shape)
        if kept is None or self.capture is None:
            return function()
        kept.runs += 1
        if kept.runs == 2:
            try:
                kept.replay, kept.logits = self.capture(function, self._pool)
            except RuntimeError as error:  # a model that asks the host while it runs
                self.capture = None
                warnings.warn(f"forward passes run uncaptured, more slowly: {error}", stacklevel=2)
        if kept.replay is None:
            return function()
        kept.replay()
        return kept.logits.clone()
