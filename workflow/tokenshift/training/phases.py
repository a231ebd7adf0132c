"""Where a training step's time goes: seconds that this process has spent in named phases."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import torch

_seconds: dict[str, float] = defaultdict(float)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time spent inside to the phase `name`.

    Waits at the end until a GPU has done its work, which would otherwise be counted to whatever comes next.
    """
    began = time.perf_counter()
    try:
        yield
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        _seconds[name] += time.perf_counter() - began


def seconds_by_phase() -> dict[str, float]:
    """Seconds spent in each phase since the last call, as NAME_seconds."""
    taken = {f"{name}_seconds": seconds for name, seconds in sorted(_seconds.items())}
    _seconds.clear()
    return taken
