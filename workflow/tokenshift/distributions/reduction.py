"""Two blocks of logits reduced to all that needs every token of the vocabulary: divergences, entropies, candidates.

All ways lead to the same numbers: the compiled kernels of a CPU, those of a GPU, and the definitions.
"""

import importlib.util
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.distributions import kernels
from tokenshift.distributions.candidates import most_probable
from tokenshift.distributions.divergence import js_of, kl_of
from tokenshift.distributions.log_probabilities import at_least_float32, entropy_of, log_probabilities


@dataclass(frozen=True)
class ReducedPolicy:
    """One policy's logits at N positions, reduced over the vocabulary.

    entropy: (N,) at temperature 1, in nats. largest: (N, 1) largest logit. log_totals: (N, temperatures) logarithm of
    the sum of exp((logits - largest) / temperature). ids: (N, candidates) most probable tokens in descending order,
    ties by id. rank_of_rival: (N,) rank, from 1, of the other policy's most probable token.
    """

    entropy: Tensor
    largest: Tensor
    log_totals: Tensor
    ids: Tensor
    rank_of_rival: Tensor


@dataclass(frozen=True)
class Reduced:
    """Both policies' logits at N positions, reduced over the vocabulary.

    kl_base_tuned, kl_tuned_base: (N,) at temperature 1, in nats. js: (N, temperatures), in nats.
    """

    base: ReducedPolicy
    tuned: ReducedPolicy
    kl_base_tuned: Tensor
    kl_tuned_base: Tensor
    js: Tensor

    def tensors(self) -> list[Tensor]:
        """All of them, each with N rows, in the order in which they are declared."""
        return [*_fields(self.base), *_fields(self.tuned), self.kl_base_tuned, self.kl_tuned_base, self.js]


def _fields(policy: ReducedPolicy) -> list[Tensor]:
    return [policy.entropy, policy.largest, policy.log_totals, policy.ids, policy.rank_of_rival]


def _ranks(blocks: tuple[Tensor, Tensor], ids: tuple[Tensor, Tensor]) -> list[Tensor]:
    """In each of two blocks of logits (N, V) the rank (N,) of the other's first candidate; `ids` (N, K) of both."""
    ranks = []
    for logits, own, rival in zip(blocks, ids, reversed(ids), strict=True):
        value, candidates = logits.gather(-1, rival[:, :1]), logits.gather(-1, own)
        rank = (candidates > value).sum(-1) + 1
        beyond = (value <= candidates[:, -1:]).squeeze(-1).nonzero().squeeze(-1)
        if len(beyond):
            rank[beyond] = (logits[beyond] > value[beyond]).sum(-1) + 1
        ranks.append(rank)
    return ranks


def reduce_vocabulary(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int
) -> Reduced:
    """Reduce the logits of base and tuned policy (N, V) over the vocabulary.

    Args:
        logits_base: (N, V). logits_tuned: (N, V).
        temperatures: distinct, 1 among them.
        candidates: how many of the most probable tokens.
    """
    if not all(reduced_at_once(logits.device, logits.dtype) for logits in (logits_base, logits_tuned)):
        return _by_definition(logits_base, logits_tuned, temperatures, candidates)
    if not kernels.serves(logits_base):
        return _by_triton(logits_base, logits_tuned, temperatures, candidates)
    reduced = _by_kernels(logits_base, logits_tuned, temperatures, candidates)
    infinite = (~(reduced.base.entropy + reduced.tuned.entropy).isfinite()).nonzero().squeeze(-1)
    if len(infinite):
        defined = _by_definition(logits_base[infinite], logits_tuned[infinite], temperatures, candidates)
        for values, replacements in zip(reduced.tensors(), defined.tensors(), strict=True):
            values[infinite] = replacements
    return reduced


def reduced_at_once(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether logits of this kind are reduced without blocks of their size: by the kernels of a CPU, or of a GPU."""
    served = dtype in (torch.float32, torch.bfloat16, torch.float16)
    there = device.type == "cpu" or (device.type == "cuda" and importlib.util.find_spec("triton") is not None)
    return served and there


def _by_triton(logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int) -> Reduced:
    """`reduce_vocabulary` of any logits on a GPU."""
    from tokenshift.distributions import triton_kernels  # which only a GPU's PyTorch brings Triton for

    sums = triton_kernels.reduce_rows(logits_base, logits_tuned, temperatures, candidates)
    one = temperatures.index(1.0)
    log_totals = sums.weights.log()  # (N, temperatures, 2)
    entropies = log_totals[:, one] - sums.weighted_logits[:, one] / sums.weights[:, one]
    differences = sums.weighted_differences[:, one] / sums.weights[:, one]
    apart = log_totals[:, one, 1] - log_totals[:, one, 0]
    base, tuned = (
        ReducedPolicy(
            entropies[:, policy].clamp(min=0),
            sums.largest[:, one, policy : policy + 1],
            log_totals[..., policy],
            sums.ids[policy],
            sums.above[:, policy] + 1,
        )
        for policy in (0, 1)
    )
    kl_base_tuned, kl_tuned_base = differences[:, 0] + apart, -differences[:, 1] - apart
    js = sums.js.clamp(0, math.log(2))
    return Reduced(base, tuned, kl_base_tuned.clamp(min=0), kl_tuned_base.clamp(min=0), js)


def _by_kernels(logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int) -> Reduced:
    """`reduce_vocabulary` of rows whose logits are all finite; of another, an entropy is not finite."""
    sums = kernels.reduce_rows(logits_base, logits_tuned, temperatures, candidates)
    one = temperatures.index(1.0)
    with np.errstate(invalid="ignore"):
        log_totals = np.log(sums.weights)  # (N, temperatures, 2)
        entropies = log_totals[:, one] - sums.weighted_logits[:, one] / sums.weights[:, one]
        # KL(p || q) is the mean, under p, of the difference of logits, less the difference of the log-totals.
        kl = np.diff(log_totals[:, one]) + sums.weighted_differences[:, one] / sums.weights[:, one]
    kl_base_tuned, kl_tuned_base = np.maximum(kl * [1, -1], 0).T
    ids = tuple(torch.from_numpy(sums.ids[:, policy]) for policy in (0, 1))
    ranks = _ranks((logits_base, logits_tuned), ids)
    base, tuned = (
        ReducedPolicy(
            _float32(np.maximum(entropies[:, policy], 0)),
            _float32(sums.values[:, policy, :1]),
            _float32(log_totals[..., policy]),
            ids[policy],
            ranks[policy],
        )
        for policy in (0, 1)
    )
    js = np.clip(sums.js / 4, 0, math.log(2))
    return Reduced(base, tuned, _float32(kl_base_tuned), _float32(kl_tuned_base), _float32(js))


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _by_definition(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int
) -> Reduced:
    """`reduce_vocabulary` on any device, in any precision, of any logits: through log-probabilities of all tokens."""
    js = []
    for temperature in temperatures:
        logp, logq = (log_probabilities(logits, temperature) for logits in (logits_base, logits_tuned))
        p, q = logp.exp(), logq.exp()
        js.append(js_of(p, q))
        if temperature == 1:
            entropy_base, entropy_tuned = entropy_of(p, logp), entropy_of(q, logq)
            kl_base_tuned, kl_tuned_base = kl_of(p, logp, logq), kl_of(q, logq, logp)
    blocks = (logits_base, logits_tuned)
    ids = tuple(most_probable(logits, candidates)[1] for logits in blocks)
    each = zip(blocks, (entropy_base, entropy_tuned), ids, _ranks(blocks, ids), strict=True)
    base, tuned = (_one_by_definition(*own, temperatures) for own in each)
    return Reduced(base, tuned, kl_base_tuned, kl_tuned_base, torch.stack(js, dim=-1))


def _one_by_definition(
    logits: Tensor, entropy: Tensor, ids: Tensor, rank_of_rival: Tensor, temperatures: tuple[float, ...]
) -> ReducedPolicy:
    largest = at_least_float32(logits.amax(-1, keepdim=True))
    totals = [((logits - largest) / temperature).logsumexp(-1) for temperature in temperatures]
    return ReducedPolicy(entropy, largest, torch.stack(totals, dim=-1), ids, rank_of_rival)
