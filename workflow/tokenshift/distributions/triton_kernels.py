"""Passes over the vocabulary on a GPU, in Triton: two rows of logits reduced together in two reads of each.

A program takes one position at one temperature, and goes over both rows in runs of tokens. The first pass keeps running
sums relative to the largest logit so far, the second needs their totals. Nothing as large as the logits is written, and
the host is not waited for. Logits that are infinite or NaN have the numbers that the definitions give them.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenshift.distributions.candidates import BLOCK, most_probable

RUN = tl.constexpr(2048)  # tokens taken at once
SEARCHED = tl.constexpr(BLOCK)  # tokens per block of the search for candidates
NEAR = tl.constexpr(0.25)
WARPS = 8


class Sums(NamedTuple):
    """Sums over the vocabulary at N positions, of the base policy, then of the tuned one, in float32.

    A token's weight at temperature T is exp(s / T), where s is its logit less the largest of its row.

    largest, weights, weighted_logits, weighted_differences: (N, temperatures, 2) the largest logit; sums of the
    weights; of the weights times s; of the weights times the difference of s, base less tuned.
    js: (N, temperatures) Jensen-Shannon divergence, in nats.
    ids: of both (N, candidates) the most probable tokens in descending order.
    above: (N, 2) tokens with a larger logit than the other policy's most probable token has.
    """

    largest: Tensor
    weights: Tensor
    weighted_logits: Tensor
    weighted_differences: Tensor
    js: Tensor
    ids: tuple[Tensor, Tensor]
    above: Tensor


def reduce_rows(logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int) -> Sums:
    """Both policies' logits (N, V) at each position, summed over the vocabulary, with so many candidates."""
    base, tuned = (logits if logits.stride(-1) == 1 else logits.contiguous() for logits in (logits_base, logits_tuned))
    (n, size), device = base.shape, base.device
    per = torch.tensor([1 / temperature for temperature in temperatures], device=device)
    totals = torch.empty(n, len(temperatures), 4, 2, device=device)
    js = torch.empty(n, len(temperatures), device=device)
    maxima = torch.empty(n, 2, size // BLOCK, device=device)
    above = torch.empty(n, 2, dtype=torch.long, device=device)
    grid, rows = (n, len(temperatures)), (base, tuned, base.stride(0), tuned.stride(0), size, per)
    if n:
        _weigh[grid](*rows, totals, maxima, size // BLOCK, num_warps=WARPS)
    ids = tuple(most_probable(block, candidates, maxima[:, policy])[1] for policy, block in enumerate((base, tuned)))
    rivals = torch.stack([ids[1][:, 0], ids[0][:, 0]], dim=-1)  # (N, 2)
    if n:
        _diverge[grid](*rows, totals, js, rivals, above, num_warps=WARPS)
    return Sums(*totals.unbind(2), js, ids, above)


@triton.jit
def _weigh(base, tuned, base_stride, tuned_stride, size, per, totals, maxima, blocks):
    """Fill `totals` (N, temperatures, 4, 2) with what `Sums` lists first, and `maxima`."""
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1)
    scale = tl.load(per + at)
    top_base, top_tuned = float("-inf"), float("-inf")
    weight_base, weight_tuned, logit_base, logit_tuned, apart_base, apart_tuned = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(0, size, RUN):
        tokens = start + tl.arange(0, RUN)
        inside = tokens < size
        x_base = tl.load(base + row * base_stride + tokens, mask=inside, other=float("-inf")).to(tl.float32)
        x_tuned = tl.load(tuned + row * tuned_stride + tokens, mask=inside, other=float("-inf")).to(tl.float32)
        if at == 0:
            block = start // SEARCHED + tl.arange(0, RUN // SEARCHED)
            place = maxima + row * 2 * blocks + block
            tl.store(place, tl.max(tl.reshape(x_base, RUN // SEARCHED, SEARCHED), axis=1), mask=block < blocks)
            place += blocks
            tl.store(place, tl.max(tl.reshape(x_tuned, RUN // SEARCHED, SEARCHED), axis=1), mask=block < blocks)
        before_base, before_tuned = top_base, top_tuned
        top_base, top_tuned = tl.maximum(top_base, tl.max(x_base)), tl.maximum(top_tuned, tl.max(x_tuned))
        zero_base, zero_tuned = _zero(top_base), _zero(top_tuned)
        moved_base, moved_tuned = _moved(before_base, zero_base), _moved(before_tuned, zero_tuned)
        kept_base, kept_tuned = tl.exp((before_base - zero_base) * scale), tl.exp((before_tuned - zero_tuned) * scale)
        s_base, s_tuned = x_base - zero_base, x_tuned - zero_tuned
        w_base, w_tuned = tl.exp(s_base * scale), tl.exp(s_tuned * scale)
        moved_apart = moved_base - moved_tuned
        logit_base = _kept(logit_base + weight_base * moved_base, kept_base) + _sum(w_base, s_base)
        logit_tuned = _kept(logit_tuned + weight_tuned * moved_tuned, kept_tuned) + _sum(w_tuned, s_tuned)
        apart_base = _kept(apart_base + weight_base * moved_apart, kept_base) + _sum(w_base, s_base - s_tuned)
        apart_tuned = _kept(apart_tuned + weight_tuned * moved_apart, kept_tuned) + _sum(w_tuned, s_base - s_tuned)
        weight_base = weight_base * kept_base + tl.sum(w_base)
        weight_tuned = weight_tuned * kept_tuned + tl.sum(w_tuned)
    place = totals + (row * tl.num_programs(1) + at) * 8
    tl.store(place, top_base)
    tl.store(place + 1, top_tuned)
    tl.store(place + 2, weight_base)
    tl.store(place + 3, weight_tuned)
    tl.store(place + 4, logit_base)
    tl.store(place + 5, logit_tuned)
    tl.store(place + 6, apart_base)
    tl.store(place + 7, apart_tuned)


@triton.jit
def _zero(top):
    """What logits are counted from: the largest of them, or 0 where none is finite yet."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
def _moved(before, zero):
    """By how much logits become less when they are counted from `zero`, if there were any `before`."""
    return tl.where(before == float("-inf"), 0.0, before - zero)


@triton.jit
def _kept(total, share):
    """A total of which a share remains; nothing of it, be it infinite, where that is 0."""
    return tl.where(share == 0, 0.0, total * share)


@triton.jit
def _sum(weights, values):
    """Sum of weighted values, those of weight 0 aside."""
    return tl.sum(tl.where(weights > 0, weights * values, 0.0))


@triton.jit
def _diverge(base, tuned, base_stride, tuned_stride, size, per, totals, js, rivals, above):
    """Fill `above` with what `Sums` says of `rivals`, and `js` with the sum of (p + q) h(a) / 4, a = |p - q| / (p + q).

    With m = (p + q) / 2, p and q are m (1 + a) and m (1 - a), so that p ln(p / m) + q ln(q / m) is m h(a) with h(a) =
    (1 + a) ln(1 + a) + (1 - a) ln(1 - a): not below 0, and exact to its last digits where p and q are close.
    """
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1)
    scale = tl.load(per + at)
    place = totals + (row * tl.num_programs(1) + at) * 8
    top_base, top_tuned = tl.load(place), tl.load(place + 1)
    all_base, all_tuned = tl.load(place + 2), tl.load(place + 3)
    added = tl.zeros([RUN], tl.float32)
    rival_base = tl.load(base + row * base_stride + tl.load(rivals + row * 2)).to(tl.float32)
    rival_tuned = tl.load(tuned + row * tuned_stride + tl.load(rivals + row * 2 + 1)).to(tl.float32)
    above_base, above_tuned = tl.zeros([RUN], tl.int32), tl.zeros([RUN], tl.int32)
    for start in range(0, size, RUN):
        tokens = start + tl.arange(0, RUN)
        inside = tokens < size
        x_base = tl.load(base + row * base_stride + tokens, mask=inside, other=float("-inf")).to(tl.float32)
        x_tuned = tl.load(tuned + row * tuned_stride + tokens, mask=inside, other=float("-inf")).to(tl.float32)
        p, q = tl.exp((x_base - top_base) * scale) / all_base, tl.exp((x_tuned - top_tuned) * scale) / all_tuned
        both = p + q
        a = tl.where(both > 0, tl.abs(p - q) / both, 0.0)
        rest = tl.where(both > 0, 2 * tl.minimum(p, q) / both, 1.0)  # 1 - a, without its rounding
        s = a * a
        # h is the sum of a^2k / (k (2k - 1)) over k from 1.
        near = (((((s / 66 + 1 / 45) * s + 1 / 28) * s + 1 / 15) * s + 1 / 6) * s + 1) * s
        far = (1 + a) * tl.log(1 + a) + tl.where(rest > 0, rest * tl.log(rest), 0.0)
        added += tl.where(inside, both * tl.where(a < NEAR, near, far), 0.0)
        above_base += (inside & (x_base > rival_base)).to(tl.int32)
        above_tuned += (inside & (x_tuned > rival_tuned)).to(tl.int32)
    if at == 0:
        tl.store(above + row * 2, tl.sum(above_base).to(tl.int64))
        tl.store(above + row * 2 + 1, tl.sum(above_tuned).to(tl.int64))
    tl.store(js + row * tl.num_programs(1) + at, tl.sum(added) / 4)
