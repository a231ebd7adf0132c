"""Weights of the advantages, token by token: a function for each entry of config.weights.Weight, of the same name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.config.weights import DivergenceWeight, SiblingWeight, TopEntropyWeight, Weight
from tokenshift.rl.losses import kl_estimate

ACTS = 0.05  # a weight farther from 1 than this is reported to act on its token


@dataclass(frozen=True)
class Tokens:
    """What a weight may depend on: of every sampled token, (B, T), without gradient."""

    log_ratio: Tensor  # log pi_new - log pi_old of the token
    old_logp: Tensor  # its log-probability under the policy that drew it
    entropy_rank: Tensor  # of that policy's entropy there, in the optimiser batch: 0 is the lowest, 1 the highest


def divergence(tokens: Tokens, weight: DivergenceWeight) -> Tensor:
    """w = 1 + strength (sigmoid(alpha KL) - 1/2) (arXiv 2603.22446, analysis 4).

    KL is the k3 estimate of KL(old | new), or of KL(new | old), at the token. As k3 >= 0, alpha > 0 gives weights in
    [1, 1 + strength / 2) and alpha < 0 weights in (1 - strength / 2, 1]; with |strength| < 2 none is negative.
    """
    kl = kl_estimate(tokens.log_ratio if weight.direction == "old_new" else -tokens.log_ratio, "k3")
    return 1 + weight.strength * ((weight.alpha * kl).sigmoid() - 0.5)


def sibling(tokens: Tokens, weight: SiblingWeight) -> Tensor:
    """w = 1 + c - c pi_old(y_t): more for tokens that were improbable when drawn, the same in every mini-batch."""
    return 1 + weight.c - weight.c * tokens.old_logp.exp()


def top_entropy(tokens: Tokens, weight: TopEntropyWeight) -> Tensor:
    """1 for the `share` of the optimiser batch's tokens with the highest entropy, else 0 (arXiv 2506.01939).

    Entropies are those of the policy that drew the tokens, so that the selection is the same however the batch is cut
    and in every epoch; the paper takes the current policy's.
    """
    return (tokens.entropy_rank >= 1 - weight.share).to(tokens.old_logp.dtype)


def acted_on(weights: Tensor) -> Tensor:
    """Where a weight matters: it lies more than ACTS from 1."""
    return (weights - 1).abs() > ACTS


WEIGHTS: dict[str, Callable[..., Tensor]] = {
    formula.__name__: formula for formula in (divergence, sibling, top_entropy)
}


def advantage_weights(tokens: Tokens, weight: Weight | None) -> Tensor | None:
    """Weights (B, T) of the advantages of `tokens`, by the one entry of `weight` that is set; None without a weight."""
    if weight is None:
        return None
    ((name, settings),) = ((name, settings) for name, settings in weight if settings is not None)
    return WEIGHTS[name](tokens, settings)


def entropy_ranks(entropies: Tensor, all_entropies: Tensor) -> Tensor:
    """Rank in [0, 1] of each of `entropies` among `all_entropies` (N,), which holds them too; equal ones rank alike.

    A rank of r or more means: at least the r-quantile of all, linearly interpolated.
    """
    ordered = all_entropies.sort().values
    places = torch.searchsorted(ordered, entropies.contiguous(), right=True) - 1
    return places / (len(ordered) - 1) if len(ordered) > 1 else torch.ones_like(entropies)
