"""Which rows make an optimiser batch, how it is cut into micro-batches, and how sequences become padded tensors."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.errors import StudyError

PADDING = 0  # any id would do: no target sees a padded position, and none of them is a target


def shuffled_batch(seed: int, population: int, size: int, number: int) -> np.ndarray:
    """Rows (size,) of batch `number` (from 0) out of `population`, in an order drawn anew for each epoch.

    The rows depend on the arguments alone, so that a resumed run needs only the number. No row comes twice in an epoch;
    the last rows of its order, which fill no batch, are left out. Raises StudyError when `population` is smaller than
    `size`.
    """
    if population < size:
        raise StudyError(f"cannot draw a batch of {size} rows from {population}; make the batch smaller or add rows")
    epoch, position = divmod(number, population // size)
    order = np.random.default_rng([seed, epoch]).permutation(population)
    return order[position * size : (position + 1) * size]


@dataclass(frozen=True)
class Rows:
    """The rows of an optimiser batch that make one micro-batch.

    An idle micro-batch has rows but no targets: it only keeps a process in step with those that still have work.
    """

    indices: list[int]
    idle: bool = False


def micro_batches(lengths: Sequence[int], size: int, tokens: int) -> list[Rows]:
    """Cut the rows of an optimiser batch, of these `lengths`, into micro-batches.

    Each has at most `size` rows and, padding included, `tokens` tokens; a row longer than `tokens` is alone. Rows are
    in the order of their lengths, the shortest first, so that a micro-batch holds little padding.
    """
    cut: list[Rows] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        last = cut[-1].indices if cut else []
        if last and len(last) < size and (len(last) + 1) * lengths[row] <= tokens:
            last.append(row)
        else:
            cut.append(Rows([row]))
    return cut


def dealt(cut: Sequence[Rows], rank: int, world_size: int) -> list[Rows]:
    """The micro-batches of `cut` that process `rank` of `world_size` takes: as many for each, the last perhaps idle.

    How a batch is cut does not depend on the number of processes, and so neither do the sums over its micro-batches.
    """
    mine = list(cut[rank::world_size])
    largest_share = math.ceil(len(cut) / world_size)
    return mine + [Rows(cut[0].indices, idle=True)] * (largest_share - len(mine))


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


def pad_rows(rows: Rows, sequences: Sequence[Sequence[int]], firsts: Sequence[int], device: torch.device) -> Padded:
    """The micro-batch of `rows`, which count in `sequences` and `firsts`; without targets where it is idle."""
    batch = pad([sequences[row] for row in rows.indices], [firsts[row] for row in rows.indices], device)
    return dataclasses.replace(batch, mask=torch.zeros_like(batch.mask)) if rows.idle else batch
