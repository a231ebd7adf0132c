"""Drawing a token from next-token logits: temperature, nucleus (top-p), inverse CDF at given uniforms.

The nucleus is searched among the most probable tokens alone (candidates.Nucleus), so that nothing sorts the vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.config.measurements import ResponseSampling
from tokenshift.config.models import Rl
from tokenshift.distributions.candidates import CANDIDATES, Nucleus, most_probable
from tokenshift.distributions.log_probabilities import at_least_float32


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled: temperature > 0, nucleus mass 0 < top_p <= 1, longest response in tokens."""

    temperature: float
    top_p: float
    max_new_tokens: int

    @classmethod
    def of(cls, settings: "Sampling | ResponseSampling | Rl") -> "Sampling":
        """That of a section of the study file with these settings."""
        return cls(settings.temperature, settings.top_p, settings.max_new_tokens)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Softmax of `logits` (..., V) at `temperature`, at least in float32."""
    precise = at_least_float32(logits)
    return torch.softmax(precise if temperature == 1 else precise / temperature, dim=-1)


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Tokens (B,) drawn from `logits` (B, V) under `sampling`, one given uniform (B,) in [0, 1) each."""
    return draw_with_margins(probabilities(logits, sampling.temperature), uniforms, sampling.top_p)[0]


def draw_with_margins(
    probs: Tensor, uniforms: Tensor, top_p: float, candidates: int = CANDIDATES
) -> tuple[Tensor, Tensor]:
    """Tokens (B,) drawn from the nuclei of `probs` (B, V), and each draw's margin (B,).

    The margin says how far the numbers are from another outcome: with the uniform, or top_p, moved by less, the same
    token is drawn. Without truncation it is the distance of the uniform to the nearer boundary of its token in the
    cumulative distribution. With a nucleus it may be less, where rounding could give another nucleus: one of another
    size, if a cumulative probability is near top_p, or with another last member, if the last token inside and the first
    outside are almost equally probable. Such another nucleus moves the boundaries by at most that distance and the
    probability of the last token, so it matters only for a uniform near a boundary.

    Args:
        probs: at the sampling temperature.
        uniforms: in [0, 1).
        top_p: mass of the nucleus.
        candidates: most probable tokens looked at; rows with a larger nucleus are looked at again, with 16 times more.
    """
    tokens, margins, complete = draw_among(probs, uniforms, top_p, candidates)
    incomplete = (~complete).nonzero().squeeze(-1)
    if len(incomplete):
        tokens[incomplete], margins[incomplete] = draw_with_margins(
            probs[incomplete], uniforms[incomplete], top_p, 16 * candidates
        )
    return tokens, margins


def draw_among(
    probs: Tensor, uniforms: Tensor, top_p: float, candidates: int = CANDIDATES
) -> tuple[Tensor, Tensor, Tensor]:
    """As `draw_with_margins`, without waiting for a GPU: also, whether each draw holds (B,).

    It does not where the nucleus may reach beyond the candidates.
    """
    if top_p >= 1:
        return *inverse_cdf(probs, uniforms), torch.ones_like(uniforms, dtype=torch.bool)
    values, ids = most_probable(probs, candidates)  # (B, K), descending, ties by id
    nucleus = Nucleus.among(values, top_p, probs.shape[-1])
    weights = values * nucleus.inside
    order = ids.argsort(dim=-1)
    place, margins = inverse_cdf(weights.gather(-1, order), uniforms)
    tokens = ids.gather(-1, order.gather(-1, place[:, None])).squeeze(-1)
    size = nucleus.inside.sum(-1, keepdim=True)
    last_inside = values.gather(-1, (size - 1).clamp(min=0))
    first_outside = values.gather(-1, size.clamp(max=values.shape[-1] - 1)).masked_fill(nucleus.inside[:, -1:], 0.0)
    to_another_size = (nucleus.before - top_p).abs().amin(-1)
    to_other_members = (1 - first_outside / last_inside).squeeze(-1)
    despite_another_nucleus = (margins * weights.sum(-1) - last_inside.squeeze(-1)) / 2
    margins = torch.minimum(margins, torch.minimum(to_another_size, to_other_members))
    return tokens, torch.maximum(margins, despite_another_nucleus), nucleus.complete


def inverse_cdf(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Places at which the cumulative sum of `weights` (B, K) exceeds `uniforms` (B,) of its total, and their margins.

    A margin (B,) is the distance from the uniform to the nearer boundary of its place, as a share of the total. With
    tokens in the order of their ids, one uniform couples the draws from two similar policies: they mostly agree. A
    weight of zero is never drawn. Weights need not sum to one. Where they are not finite, neither is the margin.
    """
    cdf = weights.cumsum(-1, dtype=torch.float64)  # (B, K)
    total = cdf[:, -1:]
    targets = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    place = torch.searchsorted(cdf, targets, right=True).clamp(max=weights.shape[-1] - 1)
    upper = cdf.gather(-1, place)
    lower = upper - weights.gather(-1, place)
    return place.squeeze(-1), (torch.minimum(targets - lower, upper - targets) / total).squeeze(-1)
