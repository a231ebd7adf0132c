"""The most probable tokens at each position, found without sorting the vocabulary, and the nucleus among them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.distributions import kernels

CANDIDATES = 48  # looked at first; a position whose nucleus is larger is looked at again, with more
BLOCK = 64  # tokens per block of the search


def most_probable(values: Tensor, k: int, maxima: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `k` largest of `values` (N, V), or all V if fewer, in descending order, and their ids, ties by id.

    `maxima` (N, V // BLOCK) are the largest values of whole blocks of tokens, where they are known already.
    Of several equal tokens at the k-th place, the compiled kernels take those of lower ids; PyTorch's path, used where
    `kernels.serves` is false, may take any of them.
    """
    if kernels.serves(values):
        return kernels.most_probable(values, k)
    largest, ids = _largest(values, k, maxima)
    by_id = ids.argsort(dim=-1)
    by_value = largest.gather(-1, by_id).argsort(dim=-1, descending=True, stable=True)
    return largest, ids.gather(-1, by_id).gather(-1, by_value)


def _largest(values: Tensor, k: int, maxima: Tensor | None) -> tuple[Tensor, Tensor]:
    """The `k` largest of `values` and their ids, ties in any order.

    Only the k blocks with the largest maxima can hold them, so only those are searched.
    """
    size = values.shape[-1]
    whole = size // BLOCK
    if k >= whole:
        return values.topk(min(k, size), dim=-1)
    blocks = values[:, : whole * BLOCK].unflatten(-1, (whole, BLOCK))
    maxima = blocks.amax(-1) if maxima is None else maxima
    best = maxima.topk(k, dim=-1, sorted=False).indices  # (N, k)
    searched = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
    searched = torch.cat([searched, values[:, whole * BLOCK :]], dim=-1)
    largest, place = searched.topk(k, dim=-1)
    in_blocks = best.gather(-1, (place // BLOCK).clamp(max=k - 1)) * BLOCK + place % BLOCK
    return largest, torch.where(place < k * BLOCK, in_blocks, place - k * BLOCK + whole * BLOCK)


@dataclass(frozen=True)
class Nucleus:
    """The nuclei of N distributions, as far as their K most probable tokens show them.

    The nucleus is the smallest set of most probable tokens whose probability reaches top_p (arXiv 1904.09751): the
    token that crosses top_p is inside, and of equally probable tokens the lower id comes first.

    inside: (N, K) whether a candidate is in the nucleus. before: (N, K) probability of all candidates that precede it,
    in float64. complete: (N,) whether no token that was not looked at can be in the nucleus.
    """

    inside: Tensor
    before: Tensor
    complete: Tensor

    @classmethod
    def among(cls, candidates: Tensor, top_p: float, vocabulary_size: int) -> "Nucleus":
        """From the probabilities (N, K) of the most probable tokens, in descending order, of `vocabulary_size`."""
        before = candidates.cumsum(-1, dtype=torch.float64) - candidates
        inside = before < top_p
        # A token as probable as the last candidate may have a rival of a lower id among those not looked at.
        complete = ~inside[:, -1] & ((candidates > candidates[:, -1:]) | ~inside).all(-1)
        return cls(inside, before, complete | (candidates.shape[-1] == vocabulary_size))
