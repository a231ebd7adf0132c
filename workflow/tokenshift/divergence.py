"""How two next-token distributions differ: pure functions of two blocks of log-probabilities or logits.

Shapes: (..., V) in, (...) out. Units: nats. A log-probability of -inf is a token outside the support.
"""

import math

import torch
from torch import Tensor

from tokenshift.sampling import in_nucleus


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-softmax (..., V) of `logits` at `temperature`, at least in float32."""
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(precise / temperature, dim=-1)


def truncated(logp: Tensor, inside: Tensor) -> Tensor:
    """`logp` (..., V) renormalised over the tokens in `inside`, -inf elsewhere."""
    kept = logp.masked_fill(~inside, -torch.inf)
    return kept - kept.logsumexp(-1, keepdim=True)


def entropy(logp: Tensor) -> Tensor:
    """Entropy, in [0, ln V]."""
    return -(logp.exp() * logp.clamp(min=torch.finfo(logp.dtype).min)).sum(-1)


def kl(logp: Tensor, logq: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q), at least 0; infinite where p has support that q lacks."""
    terms = logp.exp() * (logp - logq)
    return terms.masked_fill(logp == -torch.inf, 0.0).sum(-1).clamp(min=0.0)


def js(logp: Tensor, logq: Tensor) -> Tensor:
    """Jensen-Shannon divergence, in [0, ln 2]: 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2 (arXiv 2603.22446)."""
    logm = torch.logaddexp(logp, logq) - math.log(2)
    return (0.5 * (kl(logp, logm) + kl(logq, logm))).clamp(max=math.log(2))


def rank(logits: Tensor, tokens: Tensor) -> Tensor:
    """Rank, from 1, of `tokens` (...) by `logits` (..., V): one more than the number of tokens strictly above."""
    return (logits > logits.gather(-1, tokens[..., None])).sum(-1) + 1


def compare(
    logits_base: Tensor, logits_tuned: Tensor, tokens: Tensor, temperature: float, top_p: float, top_k: int
) -> dict[str, Tensor]:
    """All statistics of the scores file at N positions (schemas.SCORES, without the keys).

    Args:
        logits_base: (N, V) of the base policy. logits_tuned: (N, V) of the tuned one.
        tokens: (N,) response tokens at these positions.
        temperature, top_p: of the truncated distributions (`js_nucleus`, nucleus sizes and masses).
        top_k: length of the candidate lists.
    """
    columns: dict[str, Tensor] = {}
    logp = {"base": log_probabilities(logits_base), "tuned": log_probabilities(logits_tuned)}
    columns["js"] = js(logp["base"], logp["tuned"])
    columns["kl_base_tuned"] = kl(logp["base"], logp["tuned"])
    columns["kl_tuned_base"] = kl(logp["tuned"], logp["base"])
    top1 = {}
    for name, own in logp.items():
        columns[f"entropy_{name}"] = entropy(own)
        columns[f"logp_{name}"] = own.gather(-1, tokens[:, None]).squeeze(-1)
        logps, ids = own.topk(min(top_k, own.shape[-1]), dim=-1)
        columns[f"top_ids_{name}"], columns[f"top_logps_{name}"] = ids, logps
        top1[name] = ids[:, 0]
    for name, other in (("base", "tuned"), ("tuned", "base")):
        columns[f"rank_in_{name}_of_{other}_top1"] = rank(logp[name], top1[other])
        columns[f"logp_{name}_of_{other}_top1"] = logp[name].gather(-1, top1[other][:, None]).squeeze(-1)
    columns |= _compare_nuclei(logits_base, logits_tuned, temperature, top_p)
    return columns


def _compare_nuclei(logits_base: Tensor, logits_tuned: Tensor, temperature: float, top_p: float) -> dict[str, Tensor]:
    sampled = {
        "base": log_probabilities(logits_base, temperature),
        "tuned": log_probabilities(logits_tuned, temperature),
    }
    nuclei = {name: in_nucleus(logp.exp(), top_p) for name, logp in sampled.items()}
    columns = {"js_nucleus": js(*(truncated(sampled[name], nuclei[name]) for name in ("base", "tuned")))}
    candidates = {
        "shared": nuclei["base"] & nuclei["tuned"],
        "base_only": nuclei["base"] & ~nuclei["tuned"],
        "tuned_only": nuclei["tuned"] & ~nuclei["base"],
    }
    for name, logp in sampled.items():
        columns[f"nucleus_size_{name}"] = nuclei[name].sum(-1)
        for kind, members in candidates.items():
            columns[f"mass_{name}_{kind}"] = logp.exp().masked_fill(~members, 0.0).sum(-1)
    return columns
