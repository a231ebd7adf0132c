"""The sampling distribution and draws from it, by sorting the whole vocabulary."""

import torch
from torch import Tensor

from tokenshift.distributions.sampling import Sampling, probabilities


def in_nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Mask (..., V) of the smallest set of most probable tokens whose probability reaches `top_p`, ties by id."""
    if top_p >= 1:
        return torch.ones_like(probs, dtype=torch.bool)
    descending, order = probs.sort(dim=-1, descending=True, stable=True)
    before = descending.cumsum(-1, dtype=torch.float64) - descending
    return torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order, before < top_p)


def nucleus_probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Softmax at `temperature`, zero outside the nucleus, renormalised."""
    probs = probabilities(logits, temperature)
    probs = probs.masked_fill(~in_nucleus(probs, top_p), 0.0)
    return probs / probs.sum(-1, keepdim=True)


def naive_draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Tokens (B,) at which the cumulative distribution in id order exceeds `uniforms` (B,)."""
    cdf = nucleus_probabilities(logits, sampling.temperature, sampling.top_p).cumsum(-1, dtype=torch.float64)
    total = cdf[:, -1]
    targets = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cdf, targets[:, None], right=True).squeeze(-1)
