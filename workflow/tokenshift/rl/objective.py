"""The loss of one micro-batch: the terms of losses.py put together as the settings say."""

from dataclasses import dataclass

from torch import Tensor

from tokenshift.config.models import Rl
from tokenshift.rl.losses import clipped_above, clipped_below, clipped_loss, kl_estimate, log_ratio
from tokenshift.rl.weights import Tokens, advantage_weights


@dataclass(frozen=True)
class Sampled:
    """What stays the same of sampled tokens while the policy is updated: (B, T) each, without gradient."""

    mask: Tensor  # true at sampled tokens
    advantages: Tensor  # (B, 1)
    token_weights: Tensor  # in the loss of the optimiser batch
    old_logp: Tensor  # of the policy that drew the tokens
    old_entropy: Tensor  # of that policy
    entropy_rank: Tensor  # see tokenshift.rl.weights.Tokens
    initial_logp: Tensor | None  # of the initial policy; None where the KL to it takes no part


def objective(logp: Tensor, entropy: Tensor | None, sampled: Sampled, settings: Rl) -> tuple[Tensor, dict[str, Tensor]]:
    """Share of a micro-batch in the loss of its optimiser batch, and what to report of its tokens (B, T), by name.

    `logp` (B, T) are the current policy's log-probabilities; `entropy` (B, T) its entropies, needed only for an entropy
    bonus. The weighted advantage is w A (arXiv 2603.22446, analysis 4), in the clipped loss alone: neither the KL
    loss nor the entropy bonus is weighted.
    """
    ratio = log_ratio(logp, sampled.old_logp)
    reported = {"kl_old": kl_estimate(ratio, "k3"), "entropy": sampled.old_entropy}
    weights = advantage_weights(Tokens(ratio.detach(), sampled.old_logp, sampled.entropy_rank), settings.weight)
    advantages = sampled.advantages
    if weights is not None:
        reported["weight"] = weights
        advantages = advantages * weights
    loss = clipped_loss(ratio, advantages, settings.clip_low, settings.clip_high, settings.dual_clip)
    reported["clip_low"] = clipped_below(ratio, sampled.advantages, settings.clip_low).to(logp.dtype)
    reported["clip_high"] = clipped_above(ratio, sampled.advantages, settings.clip_high).to(logp.dtype)
    if sampled.initial_logp is not None:
        initial_ratio = log_ratio(sampled.initial_logp, logp)
        reported["kl_base"] = kl_estimate(initial_ratio, "k3")
        if settings.kl_coefficient > 0:
            loss = loss + settings.kl_coefficient * kl_estimate(initial_ratio, settings.kl_estimator)
    if settings.entropy_bonus > 0:
        loss = loss - settings.entropy_bonus * entropy
    return (sampled.token_weights * loss).sum(), {name: values.detach() for name, values in reported.items()}
