"""How two next-token distributions differ: pure functions of two blocks of log-probabilities or probabilities.

Shapes: (..., V) in, (...) out. Units: nats. A log-probability of -inf is a token outside the support. The functions
ending in `_of` take probabilities that the caller has already.
"""

import math

import torch
from torch import Tensor


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-softmax (..., V) of `logits` at `temperature`, at least in float32."""
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(precise if temperature == 1 else precise / temperature, dim=-1)


def entropy(logp: Tensor) -> Tensor:
    """Entropy, in [0, ln V]."""
    return entropy_of(logp.exp(), logp)


def entropy_of(p: Tensor, logp: Tensor) -> Tensor:
    """Entropy of the distribution with probabilities `p` and logarithms `logp`."""
    return (p * logp.clamp(min=torch.finfo(logp.dtype).min)).sum(-1).neg_()


def kl(logp: Tensor, logq: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q), at least 0; infinite where p has support that q lacks."""
    return kl_of(logp.exp(), logp, logq)


def kl_of(p: Tensor, logp: Tensor, logq: Tensor) -> Tensor:
    """KL(p || q) with the probabilities of p beside both logarithms."""
    return (logp - logq).mul_(p).masked_fill_(p == 0, 0.0).sum(-1).clamp_(min=0.0)


def js(logp: Tensor, logq: Tensor) -> Tensor:
    """Jensen-Shannon divergence, in [0, ln 2]: 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2 (arXiv 2603.22446)."""
    return js_of(logp.exp(), logq.exp())


def js_of(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two blocks of probabilities."""
    # p ln(p / m) from the ratio, not from a difference of logarithms: its rounding is relative to p.
    tiny = torch.finfo(p.dtype).tiny
    m = (p + q).mul_(0.5).clamp_(min=tiny)
    terms = (p / m).clamp_(min=tiny).log_().mul_(p)
    terms += (q / m).clamp_(min=tiny).log_().mul_(q)
    return terms.sum(-1).mul_(0.5).clamp_(0.0, math.log(2))
