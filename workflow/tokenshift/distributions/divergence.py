"""How two next-token distributions differ: pure functions of two blocks of log-probabilities or probabilities.

Shapes: (..., V) in, (...) out. Units: nats. A log-probability of -inf is a token outside the support. The functions
ending in `_of` take probabilities that the caller has already.
"""

import math

import torch
from torch import Tensor


def kl(logp: Tensor, logq: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q), at least 0; infinite where p has support that q lacks."""
    return kl_of(logp.exp(), logp, logq)


def kl_of(p: Tensor, logp: Tensor, logq: Tensor) -> Tensor:
    """KL(p || q) with the probabilities of p beside both logarithms."""
    return (logp - logq).mul_(p).masked_fill_(p == 0, 0.0).sum(-1).clamp_(min=0.0)


def js(logp: Tensor, logq: Tensor) -> Tensor:
    """Jensen-Shannon divergence, in [0, ln 2]: 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2 (arXiv 2603.22446)."""
    return js_of(logp.exp(), logq.exp())


def js_of(p: Tensor, q: Tensor, scratch: Tensor | None = None) -> Tensor:
    """Jensen-Shannon divergence of two blocks of probabilities; `scratch` (2, ..., V) is overwritten, if given."""
    # With u = (p - q) / (p + q), p / m = 1 + u and q / m = 1 - u: log1p keeps small differences. u = 1 is rounded down,
    # so that 0 log 0 is 0.
    first, second = torch.empty(2, *p.shape, dtype=p.dtype, device=p.device) if scratch is None else scratch
    below_one = 1 - torch.finfo(p.dtype).eps / 2
    total = torch.add(p, q, out=first).clamp_(min=torch.finfo(p.dtype).tiny)
    u = torch.sub(p, q, out=second).div_(total).clamp_(-below_one, below_one)
    of_p = torch.log1p(u, out=first).mul_(p).sum(-1)
    of_q = u.neg_().log1p_().mul_(q).sum(-1)
    return (of_p + of_q).mul_(0.5).clamp_(0.0, math.log(2))
