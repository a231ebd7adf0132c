"""Divergence weights of the advantages: the paper's analysis 4 (arXiv 2603.22446)."""

from typing import Literal

from torch import Tensor

from tokenshift.rl.losses import kl_estimate


def divergence_weights(
    log_ratio: Tensor, alpha: float, strength: float, direction: Literal["old_new", "new_old"]
) -> Tensor:
    """w = 1 + strength (sigmoid(alpha KL) - 1/2), detached, in the shape of `log_ratio` = log pi_new - log pi_old.

    KL is the k3 estimate of KL(old | new), or of KL(new | old), at the taken token. As k3 >= 0, alpha > 0 gives weights
    in [1, 1 + strength / 2) and alpha < 0 weights in (1 - strength / 2, 1]; with |strength| < 2 none is negative.
    """
    kl = kl_estimate(log_ratio.detach() if direction == "old_new" else -log_ratio.detach(), "k3")
    return 1 + strength * ((alpha * kl).sigmoid() - 0.5)
