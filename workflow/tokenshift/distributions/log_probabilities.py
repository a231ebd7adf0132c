"""Logits as log-probabilities, at least in float32, and the entropy of one next-token distribution.

Shapes: (..., V) in, entropies (...) out. Units: nats. A log-probability of -inf is a token outside the support.
"""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """`values`, made float32 where they have fewer bits, such as the bfloat16 logits of a model."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-softmax (..., V) of `logits` at `temperature`, at least in float32."""
    precise = at_least_float32(logits)
    return torch.log_softmax(precise if temperature == 1 else precise / temperature, dim=-1)


def entropy(logp: Tensor) -> Tensor:
    """Entropy, in [0, ln V]."""
    return entropy_of(logp.exp(), logp)


def entropy_of(p: Tensor, logp: Tensor) -> Tensor:
    """Entropy of the distribution with probabilities `p` and logarithms `logp`."""
    return logp.clamp(min=torch.finfo(logp.dtype).min).mul_(p).sum(-1).neg_()
