"""The terms of the RL objective, per token, and how they are aggregated. All tensors are (B, T); units are nats.

`log_ratio` is log pi_new(y_t) - log pi_old(y_t) of the taken token.
"""

from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token_mean", "sequence_mean", "fixed_length"]

LARGEST_LOG_RATIO = 20.0  # keeps exp() finite, as in verl


def log_ratio(logp: Tensor, other: Tensor) -> Tensor:
    """The difference `logp` - `other` of log-probabilities, clamped to +-LARGEST_LOG_RATIO."""
    return (logp - other).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


def clipped_loss(
    log_ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float, dual_clip: float | None
) -> Tensor:
    """Clipped surrogate loss, with separate bounds (DAPO, arXiv 2503.14476, equation 8).

    max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)); for A < 0 at most -dual_clip A (arXiv 1912.09729).
    """
    ratio = log_ratio.exp()
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)


def clipped_below(log_ratio: Tensor, advantages: Tensor, clip_low: float) -> Tensor:
    """Tokens whose probability is no longer pushed down: A < 0 and ratio below 1 - clip_low."""
    return (advantages < 0) & (log_ratio.exp() < 1 - clip_low)


def clipped_above(log_ratio: Tensor, advantages: Tensor, clip_high: float) -> Tensor:
    """Tokens whose probability is no longer pushed up: A > 0 and ratio above 1 + clip_high."""
    return (advantages > 0) & (log_ratio.exp() > 1 + clip_high)


def kl_estimate(log_ratio: Tensor, estimator: Literal["k1", "k2", "k3"]) -> Tensor:
    """Per-token estimate of KL(p | q) from tokens drawn from p, with `log_ratio` = log q - log p.

    k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1 >= 0 (Schulman, "Approximating KL divergence", 2020).
    """
    if estimator == "k1":
        return -log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    return log_ratio.expm1() - log_ratio


def token_weights(mask: Tensor, aggregation: Aggregation, tokens: int, sequences: int, max_new_tokens: int) -> Tensor:
    """Weights (B, T), float64, with which the tokens of a micro-batch enter the loss of the whole optimiser batch.

    `tokens` and `sequences` count the whole optimiser batch, so that the sum over its micro-batches does not depend on
    how it was cut. The aggregations are token_mean: all tokens alike (DAPO, arXiv 2503.14476); sequence_mean: all
    sequences alike, and within each its tokens (GRPO, arXiv 2402.03300); fixed_length: 1 / (sequences max_new_tokens)
    for every token, whatever the lengths (Dr. GRPO, arXiv 2503.20783). A row of `mask` without tokens has no weight.
    """
    ones = mask.double()
    if aggregation == "token_mean":
        return ones / tokens
    if aggregation == "fixed_length":
        return ones / (sequences * max_new_tokens)
    return ones / (mask.sum(-1, keepdim=True).clamp(min=1) * sequences)
