"""The passes of a GPU on a CPU: rounded sizes, tokens drawn ahead, and passes that are run again as CUDA graphs are."""

import inspect
from collections.abc import Callable

import pytest
from torch import Tensor

from tokenshift.policies import cached_policy, captured


def replayed(function: Callable[[], Tensor], pool: object) -> tuple[Callable[[], None], Tensor]:
    """What `captured.cuda_graph` gives: it computes from what lies in the same tensors, and must find them there."""
    policy = inspect.getclosurevars(function).nonlocals["self"]

    def tensors() -> list[int]:
        return [states.data_ptr() for layer in policy.cache.layers for states in (layer.keys, layer.values)]

    result, captured_with = function(), tensors()

    def replay() -> None:
        assert tensors() == captured_with, "keys and values have moved since the pass was captured"
        result.copy_(function())

    return replay, result


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models on the CPU be decoded as on a GPU."""
    monkeypatch.setattr(cached_policy, "pass_sizes", lambda model: captured.ON_GPU)
    monkeypatch.setattr(captured, "how_captured", lambda model: replayed)
