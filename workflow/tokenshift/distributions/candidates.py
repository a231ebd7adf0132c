"""The most probable tokens of a block of logits or probabilities, without sorting the vocabulary."""

import torch
from torch import Tensor

from tokenshift.distributions import kernels

CANDIDATES = 48  # looked at first; where more are needed, again with more
BLOCK = 64  # tokens per block of the search


def most_probable(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest of `values` (N, V), or all V if fewer, in descending order, and their ids, ties by id.

    Of several equal tokens at the k-th place, the compiled kernels take those of lower ids; PyTorch's path, used where
    `kernels.serves` is false, may take any of them.
    """
    if kernels.serves(values):
        return kernels.most_probable(values, k)
    found, ids = _largest(values, k)
    by_id = ids.argsort(dim=-1)
    by_value = found.gather(-1, by_id).argsort(dim=-1, descending=True, stable=True)
    return found, ids.gather(-1, by_id).gather(-1, by_value)


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `most_probable`, ties in any order.

    Only the k blocks with the largest maxima can hold them, so only those are searched.
    """
    size = values.shape[-1]
    whole = size // BLOCK
    if k >= whole:
        return values.topk(min(k, size), dim=-1)
    blocks = values[:, : whole * BLOCK].unflatten(-1, (whole, BLOCK))
    best = blocks.amax(-1).topk(k, dim=-1, sorted=False).indices  # (N, k)
    searched = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
    searched = torch.cat([searched, values[:, whole * BLOCK :]], dim=-1)
    found, place = searched.topk(k, dim=-1)
    in_blocks = best.gather(-1, (place // BLOCK).clamp(max=k - 1)) * BLOCK + place % BLOCK
    return found, torch.where(place < k * BLOCK, in_blocks, place - k * BLOCK + whole * BLOCK)
