"""The processes that train together: which of them this one is, and what they exchange besides gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """The processes that train together. Each of them has to make the same calls in the same order."""

    rank: int  # of this process
    size: int

    @classmethod
    def current(cls) -> Self:
        """The world that was joined before (tokenshift.training.engine.join_world), or else this process alone."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls(0, 1)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The `items` that this process works on: every `size`-th, from the one with its rank on."""
        return list(items[self.rank :: self.size])

    def merged(self, mine: list[Item]) -> list[Item]:
        """The results of all processes, each for the items of its `share`, in the order of the items."""
        if self.size == 1:
            return mine
        parts: list[list[Item]] = [[] for _ in range(self.size)]
        dist.all_gather_object(parts, mine)
        return [parts[i % self.size][i // self.size] for i in range(sum(map(len, parts)))]

    def joined(self, mine: Tensor) -> Tensor:
        """The tensors (N,) of all processes, which may differ in length, one after another."""
        if self.size == 1:
            return mine
        parts: list[Tensor] = [mine] * self.size
        dist.all_gather_object(parts, mine.cpu())
        return torch.cat(parts).to(mine.device)

    def any(self, mine: bool, device: torch.device) -> bool:
        """Whether `mine` is true on any process."""
        if self.size == 1:
            return mine
        count = torch.tensor(int(mine), device=device)
        dist.all_reduce(count)
        return bool(count)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()
