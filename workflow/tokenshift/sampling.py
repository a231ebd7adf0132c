"""Drawing a token from next-token logits: temperature, nucleus (top-p), inverse CDF at given uniforms."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled: temperature > 0, nucleus mass 0 < top_p <= 1, longest response in tokens."""

    temperature: float
    top_p: float
    max_new_tokens: int


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Softmax of `logits` (..., V) at `temperature`, at least in float32."""
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return torch.softmax(precise / temperature, dim=-1)


def in_nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Mask (..., V) of the smallest set of most probable tokens whose probability reaches `top_p` (arXiv 1904.09751).

    The token that crosses `top_p` is inside; of equally probable tokens the lower id comes first.
    """
    if top_p >= 1:
        return torch.ones_like(probs, dtype=torch.bool)
    descending, order = probs.sort(dim=-1, descending=True, stable=True)
    before = descending.cumsum(-1, dtype=torch.float64) - descending
    return torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order, before < top_p)


def nucleus_probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Sampling distribution (..., V): softmax at `temperature`, zero outside the nucleus, renormalised."""
    probs = probabilities(logits, temperature)
    probs = probs.masked_fill(~in_nucleus(probs, top_p), 0.0)
    return probs / probs.sum(-1, keepdim=True)


def inverse_cdf(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Token ids (B,) at which the cumulative distribution of `probs` (B, V), in id order, exceeds `uniforms` (B,).

    The fixed order couples the draws of two similar policies from one uniform: they mostly agree. A token of
    probability zero is never drawn.
    """
    cdf = probs.cumsum(-1, dtype=torch.float64)  # (B, V)
    total = cdf[:, -1]
    targets = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cdf, targets[:, None], right=True).squeeze(-1)


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Tokens (B,) drawn from `logits` (B, V) under `sampling`, one given uniform (B,) in [0, 1) each."""
    return inverse_cdf(nucleus_probabilities(logits, sampling.temperature, sampling.top_p), uniforms)
