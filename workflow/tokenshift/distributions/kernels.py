"""Passes over the vocabulary on a CPU, compiled by Numba: the candidates of a row, and two rows reduced together.

PyTorch goes over a whole block of logits for every operation; here all that is wanted of a position is computed while
its rows are in the cache. Positions are shared among as many threads as PyTorch uses, which changes none of their
numbers.

The order of every sum is written down, so that the numbers are the same on every CPU. A sum over the vocabulary has RUN
lanes: lane v adds up tokens v, v + RUN, v + 2 RUN and so on in float32, and the lanes are added in float64. Loops over
lanes can therefore become vector instructions without fast math, with which the last digits would be those of a CPU,
and of kernels just compiled rather than read from the cache.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic
from torch import Tensor

# OpenMP's threads, where there is one: Numba's own share the cores less well with PyTorch's.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "workqueue", "tbb"]

RUN = 1024  # tokens taken at once, a lane each
BLOCK = 64  # tokens per block of the search for candidates, or fewer

f4, i4 = np.float32, np.int32
COMPILED = {"cache": True, "error_model": "numpy"}

# exp(x) = 2^n exp(r) with |r| <= ln(2) / 2, and the Taylor series of exp(r). ln 2 is a short number and a rest, so that
# n ln 2 is exact (Cody and Waite, Software Manual for the Elementary Functions, 1980, chapter 6). Below LOWEST, exp(x)
# stays at 4e-31: it vanishes in every sum, and no probability is 0.
PER_LN2, LN2, LN2_REST = f4(1 / math.log(2)), f4(0.693359375), f4(math.log(2) - 0.693359375)
E2, E3, E4, E5, E6 = (f4(1 / math.factorial(k)) for k in range(2, 7))
LOWEST = f4(-70)
# h(a) = (1 + a) ln(1 + a) + (1 - a) ln(1 - a) is the sum of a^2k / (k (2k - 1)) over k from 1; good below NEAR.
H2, H3, H4, H5, H6 = (f4(1 / (k * (2 * k - 1))) for k in range(2, 7))
NEAR = f4(0.25)
# ln(1 + a) = 2 artanh(t) with t = a / (2 + a) <= 1/3.
L3, L5, L7, L9, L11, L13 = (f4(2 / k) for k in range(3, 15, 2))
HALF, ONE, TWO = f4(0.5), f4(1), f4(2)


def serves(values: Tensor) -> bool:
    """Whether these kernels take `values`: on a CPU, in single or half precision."""
    return values.device.type == "cpu" and values.dtype in (torch.float32, torch.bfloat16, torch.float16)


def most_probable(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`candidates.most_probable` of values that `serves` takes; of a row that holds a NaN, every value is NaN."""
    bits = _bits(values)
    largest, ids = _candidates(len(bits), min(k, bits.shape[1]))
    _use_threads_of_torch()
    _search(bits, largest, ids)
    return torch.from_numpy(largest).to(values.dtype), torch.from_numpy(ids)


class Sums(NamedTuple):
    """Sums over the vocabulary at N positions, and candidates there: of the base policy, then of the tuned one.

    A token's weight at temperature T is exp(s / T), where s is its logit less the largest of its row.

    values, ids: (N, 2, candidates) largest logits in descending order, and their tokens, ties by id.
    weights: (N, temperatures, 2) sums of the weights. weighted_logits: the same of the weights times s.
    weighted_differences: the same of the weights times the difference of s, base less tuned.
    js: (N, temperatures) four times the Jensen-Shannon divergence, in nats.
    """

    values: np.ndarray
    ids: np.ndarray
    weights: np.ndarray
    weighted_logits: np.ndarray
    weighted_differences: np.ndarray
    js: np.ndarray


def reduce_rows(logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int) -> Sums:
    """Both policies' logits (N, V) at each position, of which all are finite, summed over the vocabulary."""
    base, tuned = _bits(logits_base), _bits(logits_tuned)
    n, size = base.shape
    values, ids = _candidates(n, 2, min(candidates, size))
    sums = np.zeros((n, len(temperatures), 7))
    _use_threads_of_torch()
    _reduce(base, tuned, np.array(temperatures), values, ids, sums)
    return Sums(values, ids, sums[..., 0:2], sums[..., 2:4], sums[..., 4:6], sums[..., 6])


def _use_threads_of_torch() -> None:
    """Give Numba as many threads as PyTorch uses, and PyTorch's back: starting Numba's sets them to all cores."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(threads)


def _candidates(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrays for the values and the ids of candidates, to be filled."""
    return np.zeros(shape, f4), np.zeros(shape, np.int64)


def _bits(values: Tensor) -> np.ndarray:
    """The bits of `values` without a copy, if they can be: bfloat16 as int16; what else, made float32, as int32."""
    if values.dtype == torch.bfloat16:
        return values.contiguous().view(torch.int16).numpy()
    return values.float().contiguous().view(torch.int32).numpy()


@intrinsic
def _value(context, bits):
    """The float32 whose bits are those of an int32, or the bfloat16 whose bits are those of an int16."""

    def generate(_, builder, __, given):
        whole = builder.shl(builder.zext(given[0], ir.IntType(32)), ir.IntType(32)(32 - bits.bitwidth))
        return builder.bitcast(whole, ir.FloatType())

    return types.float32(bits), generate


@intrinsic
def _fma(context, x, y, z):
    """x y + z, rounded once."""
    x = types.float32
    return x(x, x, x), lambda _, builder, __, given: builder.fma(*given)


@njit(inline="always")
def _exp(x):
    x = x if x > LOWEST else LOWEST
    n = i4(x * PER_LN2 - HALF)  # truncation of what is negative: rounded to the nearest
    r = _fma(-f4(n), LN2_REST, _fma(-f4(n), LN2, x))
    series = _fma(_fma(_fma(_fma(_fma(E6, r, E5), r, E4), r, E3), r, E2), r * r, r) + ONE
    return series * _value(i4((n + i4(127)) << i4(23)))


@njit(inline="always")
def _h(a, distance):
    """h(a) for a in [0, 1], given ln((1 + a) / (1 - a)), which may be any finite number where a is 1."""
    s = a * a
    near = _fma(_fma(_fma(_fma(_fma(H6, s, H5), s, H4), s, H3), s, H2), s, ONE) * s
    t = a / (TWO + a)
    s = t * t
    log1p = _fma(_fma(_fma(_fma(_fma(_fma(L13, s, L11), s, L9), s, L7), s, L5), s, L3), s, TWO) * t
    return near if a < NEAR else _fma(TWO, log1p, (a - ONE) * distance)


@njit(inline="always")
def _lane(v, k):
    """Index of lane v in the k-th of runs that lie one after another. It is unsigned, and so never negative."""
    return v + np.uintp(k * RUN)


@njit(**COMPILED)
def _blocks(size, candidates):
    """Number of blocks in which to search a row of `size` tokens: several for each candidate."""
    return min(size, max(-(-size // BLOCK), 4 * candidates))


@njit(**COMPILED)
def _maxima(bits, best):
    """Fill `best` with the largest value of each block; returns the largest of all.

    A block's tokens are len(best) apart, so that the maxima of neighbouring blocks are taken by vector instructions.
    """
    best[:] = -np.inf
    for start in range(0, len(bits), len(best)):
        _raise(best, bits[start : start + len(best)])
    return best.max()


@njit(**COMPILED)
def _raise(best, bits):
    for v in range(len(bits)):
        x = _value(bits[v])
        best[v] = x if x > best[v] else best[v]


@njit(**COMPILED)
def _find(bits, best, values, ids):
    """Fill `values` and `ids` with the largest values and their tokens, descending, ties by id.

    `best` holds the largest value of each block, from `_maxima`.
    """
    k, blocks = len(values), len(best)
    bound = f4(-np.inf)
    if blocks > k:  # each of the k blocks with the largest maxima holds a token at least as large as the least of these
        bound = np.partition(best, blocks - k)[blocks - k]
    above, level = np.empty(len(bits), np.int64), np.empty(len(bits), np.int64)
    n_above = n_level = 0
    for block in range(blocks):
        if best[block] >= bound:
            for v in range(block, len(bits), blocks):
                x = _value(bits[v])
                if x > bound:
                    # The bits of floats are ordered as the floats are, but for the sign; then lower ids come first.
                    ordered = np.int64(f4(x).view(np.int32))
                    ordered = ordered if ordered >= 0 else -(ordered & 0x7FFFFFFF)
                    above[n_above] = (ordered << 32) | (0xFFFFFFFF - v)
                    n_above += 1
                elif x == bound:
                    level[n_level] = v
                    n_level += 1
    ranked = np.sort(above[:n_above])[::-1][:k]
    for place in range(len(ranked)):
        ids[place] = 0xFFFFFFFF - (ranked[place] & 0xFFFFFFFF)
        values[place] = _value(bits[ids[place]])
    missing = k - len(ranked)
    if 0 < missing <= n_level:
        ids[-missing:] = np.sort(np.partition(level[:n_level], missing - 1)[:missing])
        values[-missing:] = bound


@njit(**COMPILED)
def _has_nan(bits):
    has_nan = False
    for v in range(len(bits)):
        has_nan |= _value(bits[v]) != _value(bits[v])
    return has_nan


@njit(**COMPILED, parallel=True)
def _search(bits, values, ids):
    for n in prange(len(bits)):
        if _has_nan(bits[n]):
            values[n] = np.nan
        else:
            best = np.empty(_blocks(bits.shape[1], ids.shape[1]), f4)
            _maxima(bits[n], best)
            _find(bits[n], best, values[n], ids[n])


@njit(**COMPILED, parallel=True)
def _reduce(base, tuned, temperatures, values, ids, sums):
    for n in prange(len(base)):
        _reduce_row(base[n], tuned[n], temperatures, values[n], ids[n], sums[n])


@njit(**COMPILED)
def _reduce_row(base, tuned, temperatures, values, ids, sums):
    """Fill `sums` (temperatures, 7) by `_weigh` and `_js`, and `values` and `ids` (2, K) with the candidates."""
    size = len(base)
    best = np.empty(_blocks(size, ids.shape[1]), f4)
    weights, lanes = np.empty(2 * (size + RUN), f4), np.empty(sums.shape[1] * RUN, f4)
    top_base = _maxima(base, best)
    _find(base, best, values[0], ids[0])
    top_tuned = _maxima(tuned, best)
    _find(tuned, best, values[1], ids[1])
    for t in range(len(temperatures)):
        per, totals = f4(1 / temperatures[t]), sums[t]
        lanes[:] = 0
        for start in range(0, size, RUN):
            run, both = slice(start, start + RUN), slice(2 * start, 2 * start + 2 * RUN)
            logits = base[run], top_base, tuned[run], top_tuned
            _weigh(*logits, per, weights[both], lanes)
        _add(lanes, totals, 0, 6)
        per_base, per_tuned, offset = f4(1 / totals[0]), f4(1 / totals[1]), f4(math.log(totals[0] / totals[1]))
        for start in range(0, size, RUN):
            run, both = slice(start, start + RUN), slice(2 * start, 2 * start + 2 * RUN)
            logits = base[run], top_base, tuned[run], top_tuned
            _js(*logits, per, offset, weights[both], per_base, per_tuned, lanes)
        _add(lanes, totals, 6, 7)


@njit(**COMPILED)
def _add(lanes, sums, first, last):
    for v in range(RUN):
        for k in range(first, last):
            sums[k] += lanes[_lane(v, k)]


@njit(**COMPILED)
def _weigh(base, top_base, tuned, top_tuned, per, weights, lanes):
    """Compute the weights exp(s / T) of a run's tokens, s being a logit less the largest of its row, and add them up.

    `weights` takes those of the base policy, then those of the tuned one. Of each policy in turn are added: to lanes 0
    and 1 the weights, to 2 and 3 the weights times s, to 4 and 5 the weights times the difference of s, base less
    tuned. `per` is 1 / T.
    """
    for token in range(len(base)):
        v = np.uintp(token)
        s_base, s_tuned = _value(base[v]) - top_base, _value(tuned[v]) - top_tuned
        w_base, w_tuned = _exp(s_base * per), _exp(s_tuned * per)
        weights[v], weights[_lane(v, 1)] = w_base, w_tuned
        lanes[v] += w_base
        lanes[_lane(v, 1)] += w_tuned
        lanes[_lane(v, 2)] = _fma(w_base, s_base, lanes[_lane(v, 2)])
        lanes[_lane(v, 3)] = _fma(w_tuned, s_tuned, lanes[_lane(v, 3)])
        lanes[_lane(v, 4)] = _fma(w_base, s_base - s_tuned, lanes[_lane(v, 4)])
        lanes[_lane(v, 5)] = _fma(w_tuned, s_base - s_tuned, lanes[_lane(v, 5)])


@njit(**COMPILED)
def _js(base, top_base, tuned, top_tuned, per, offset, weights, per_base, per_tuned, lanes):
    """Add to lanes 6 what a run's tokens contribute to four times JS: (p + q) h(a), where a = |p - q| / (p + q).

    With m = (p + q) / 2, p and q are m (1 + a) and m (1 - a), so that p ln(p / m) + q ln(q / m) is m h(a): not below 0,
    and exact to its last digits where p and q are close. `per_base` and `per_tuned` are what normalises the weights,
    `offset` the difference of the logarithms of their totals.
    """
    for token in range(len(base)):
        v = np.uintp(token)
        p, q = weights[v] * per_base, weights[_lane(v, 1)] * per_tuned
        both = p + q
        a = abs(p - q) / both
        s_base, s_tuned = _value(base[v]) - top_base, _value(tuned[v]) - top_tuned
        log_ratio = _fma(s_base - s_tuned, per, -offset)
        lanes[_lane(v, 6)] = _fma(both, _h(a, abs(log_ratio)), lanes[_lane(v, 6)])
