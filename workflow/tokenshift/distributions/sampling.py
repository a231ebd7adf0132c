"""Drawing a token from next-token logits: temperature, nucleus (top-p), inverse CDF at given uniforms.

The nucleus is the smallest set of most probable tokens whose probability reaches top_p (arXiv 1904.09751); the token
that crosses top_p is inside, and of equally probable tokens the lower id comes first. It is searched among the most
probable tokens alone, so that nothing sorts the vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.distributions.candidates import CANDIDATES, most_probable


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled: temperature > 0, nucleus mass 0 < top_p <= 1, longest response in tokens."""

    temperature: float
    top_p: float
    max_new_tokens: int


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Softmax of `logits` (..., V) at `temperature`, at least in float32."""
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return torch.softmax(precise if temperature == 1 else precise / temperature, dim=-1)


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Tokens (B,) drawn from `logits` (B, V) under `sampling`, one given uniform (B,) in [0, 1) each."""
    return draw_with_margins(probabilities(logits, sampling.temperature), uniforms, sampling.top_p)[0]


def draw_with_margins(
    probs: Tensor, uniforms: Tensor, top_p: float, candidates: int = CANDIDATES
) -> tuple[Tensor, Tensor]:
    """Tokens (B,) drawn from the nuclei of `probs` (B, V), and how far each draw was from another outcome (B,).

    The margin is the uniform's distance to the nearer cumulative boundary of its token, or less where the nucleus might
    be another: where top_p is nearer to a cumulative probability, which decides its size, or the relative difference of
    the last token inside and the first outside is smaller, which decides its members. Another nucleus within a distance
    d moves the boundaries by at most d and the probability of the last token, so it matters only where they are near.

    Args:
        probs: at the sampling temperature.
        uniforms: in [0, 1).
        top_p: mass of the nucleus.
        candidates: most probable tokens looked at; rows with a larger nucleus are looked at again, with 16 times more.
    """
    if top_p >= 1:
        return inverse_cdf(probs, uniforms)
    values, ids = most_probable(probs, candidates)  # (B, K), descending, ties by id
    before = values.cumsum(-1, dtype=torch.float64) - values
    inside = before < top_p
    order = ids.argsort(dim=-1)
    place, margins = inverse_cdf((values * inside).gather(-1, order), uniforms)
    tokens = ids.gather(-1, order.gather(-1, place[:, None])).squeeze(-1)
    size = inside.sum(-1, keepdim=True)
    last = values.gather(-1, (size - 1).clamp(min=0))
    beyond = values.gather(-1, size.clamp(max=values.shape[-1] - 1))
    if values.shape[-1] < probs.shape[-1]:
        # A token as probable as the last candidate may have a rival of a lower id among those not looked at.
        again = (last <= values[:, -1:]).squeeze(-1).nonzero().squeeze(-1)
    else:
        again = beyond.new_empty(0, dtype=torch.long)
        beyond = beyond.masked_fill(inside[:, -1:], 0.0)
    of_nucleus = torch.minimum((before - top_p).abs().amin(-1), (1 - beyond / last).squeeze(-1))
    despite = (margins * (values * inside).sum(-1) - last.squeeze(-1)) / 2
    margins = torch.maximum(torch.minimum(margins, of_nucleus), despite)
    if len(again):
        tokens[again], margins[again] = draw_with_margins(probs[again], uniforms[again], top_p, 16 * candidates)
    return tokens, margins


def inverse_cdf(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Where the cumulative sum of `weights` (B, K) exceeds `uniforms` (B,) of the total, and how far its steps are.

    The second is the distance from the uniform to the nearer boundary of the step that it falls on, (B,). With tokens
    in the order of their ids, one uniform couples the draws of two similar policies: they mostly agree. A zero weight
    is never drawn. Weights need not sum to one. Where they are not finite, neither is the distance.
    """
    cdf = weights.cumsum(-1, dtype=torch.float64)  # (B, K)
    total = cdf[:, -1:]
    targets = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    place = torch.searchsorted(cdf, targets, right=True).clamp(max=weights.shape[-1] - 1)
    upper = cdf.gather(-1, place)
    lower = upper - weights.gather(-1, place)
    return place.squeeze(-1), (torch.minimum(targets - lower, upper - targets) / total).squeeze(-1)
