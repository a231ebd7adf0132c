"""Which rows make a batch, how it is cut into micro-batches, and how sequences become padded tensors."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.errors import StudyError

PADDING = 0  # any id: no target sees a padded position, and none of them is a target


def shuffled_batch(seed: int, population: int, size: int, number: int) -> np.ndarray:
    """Rows (size,) of batch `number` (from 0) out of `population`, in an order drawn anew for each epoch.

    A function of its arguments alone, so that a resumed run needs only the number. No row comes twice in an epoch; its
    last rows, which fill no batch, are left out. Raises StudyError when `population` is smaller than `size`.
    """
    if population < size:
        raise StudyError(f"cannot draw a batch of {size} rows from {population}; make the batch smaller or add rows")
    epoch, position = divmod(number, population // size)
    order = np.random.default_rng([seed, epoch]).permutation(population)
    return order[position * size : (position + 1) * size]


@dataclass(frozen=True)
class Part:
    """Rows of an optimiser batch that pass through the model together; idle ones only keep a process in step."""

    rows: list[int]
    idle: bool = False


def micro_batches(lengths: Sequence[int], size: int, tokens: int) -> list[Part]:
    """Rows of these `lengths` in parts of at most `size` rows and `tokens` tokens, padding included.

    Shortest first, so that a part holds little padding. A row longer than `tokens` is a part of its own.
    """
    parts: list[Part] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        rows = parts[-1].rows if parts else []
        if rows and len(rows) < size and (len(rows) + 1) * lengths[row] <= tokens:
            rows.append(row)
        else:
            parts.append(Part([row]))
    return parts


def dealt(parts: Sequence[Part], rank: int, world_size: int) -> list[Part]:
    """Those of `parts` that process `rank` of `world_size` takes: as many for each, with idle ones at the end.

    The parts themselves do not depend on the number of processes, so neither do their sums.
    """
    mine = list(parts[rank::world_size])
    return mine + [Part(parts[0].rows, idle=True)] * (-(-len(parts) // world_size) - len(mine))


@dataclass(frozen=True)
class Padded:
    """Sequences padded on the right, and which of their tokens are targets.

    Positions are natural and no attention mask is needed: causal attention never looks right.
    """

    tokens: Tensor  # (B, T)
    first: int  # index of the earliest target of any row, at least 1
    mask: Tensor  # (B, T - first), true at targets

    @property
    def targets(self) -> Tensor:
        """Tokens from `first` on: (B, T - first)."""
        return self.tokens[:, self.first :]


def pad(sequences: Sequence[Sequence[int]], firsts: Sequence[int], device: torch.device) -> Padded:
    """Batch of `sequences`; the tokens of each from its entry of `firsts` (at least 1) on are targets."""
    longest, first = max(map(len, sequences)), min(firsts)
    tokens = torch.full((len(sequences), longest), PADDING)
    mask = torch.zeros(len(sequences), longest, dtype=torch.bool)
    for row, (sequence, start) in enumerate(zip(sequences, firsts, strict=True)):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, start : len(sequence)] = True
    return Padded(tokens.to(device), first, mask[:, first:].to(device))


def pad_part(part: Part, sequences: Sequence[Sequence[int]], firsts: Sequence[int], device: torch.device) -> Padded:
    """The rows of `part` as a batch; without targets where it is idle."""
    batch = pad([sequences[row] for row in part.rows], [firsts[row] for row in part.rows], device)
    return dataclasses.replace(batch, mask=torch.zeros_like(batch.mask)) if part.idle else batch
