"""What needs every token of the vocabulary: two blocks of logits reduced to a few numbers and candidates a position.

On a CPU the blocks are cut into tiles that stay in the cache.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from tokenshift.candidates import in_order, largest
from tokenshift.divergence import entropy_of, js_of, kl_of

RUN = 1024  # tokens summed at once
CACHED = 2**19  # logits of one policy in a tile on a CPU


def reduce_vocabulary(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: Sequence[float], candidates: int
) -> dict[str, Tensor]:
    """Reduce the logits of base and tuned policy (N, V) over the vocabulary.

    Returns:
        js, kl_base_tuned, kl_tuned_base, and for each policy entropy_{policy}, all (N,) at temperature 1; js_at
        (N, temperatures). For each policy largest_{policy} (N, 1), its largest logit; log_totals_{policy}
        (N, temperatures), the logarithm of the sum of exp((logits - largest) / temperature); ids_{policy}
        (N, candidates), its most probable tokens in descending order, ties by id.
    """
    rows = len(logits_base) if logits_base.is_cuda else max(1, CACHED // logits_base.shape[-1])
    tiles = zip(logits_base.split(rows), logits_tuned.split(rows), strict=True)
    reduced = [_reduce_tile(*tile, temperatures, candidates) for tile in tiles]
    columns = {name: torch.cat([tile[name] for tile in reduced]) for name in reduced[0]}
    for policy in ("base", "tuned"):
        columns[f"ids_{policy}"] = in_order(columns.pop(f"values_{policy}"), columns[f"ids_{policy}"])
    return columns


def _reduce_tile(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: Sequence[float], candidates: int
) -> dict[str, Tensor]:
    """`reduce_vocabulary` of so few positions that a dozen (N, V) blocks can exist; candidates in no order of ties."""
    shifted, p, scratch = _blocks(logits_base)
    columns = {}
    for policy, logits, own in (("base", logits_base, shifted[0]), ("tuned", logits_tuned, shifted[1])):
        values, ids = largest(logits, candidates)
        top = values[:, :1].to(own.dtype)
        own.copy_(logits).sub_(top)
        columns |= {f"values_{policy}": values, f"ids_{policy}": ids, f"largest_{policy}": top}
    torch.sub(shifted[0], shifted[1], out=shifted[2])
    log_totals = _normalise(torch.exp(shifted[:2], out=p))
    columns |= _entropies_and_kl(shifted, p, log_totals)
    totals_at, js_at = [], []
    for temperature in temperatures:
        warm, totals = p, log_totals
        if temperature != 1:
            warm = (shifted[:2] / temperature).exp_()
            totals = _normalise(warm)
        js_at.append(js_of(*warm, scratch))
        totals_at.append(totals)
    columns |= dict(zip(("log_totals_base", "log_totals_tuned"), torch.cat(totals_at, dim=-1), strict=True))
    return columns | {"js": js_at[temperatures.index(1.0)], "js_at": torch.stack(js_at, dim=-1)}


def _blocks(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three, two and two blocks of the shape of `like`, at least float32: on a CPU the same ones for every tile.

    Fresh memory costs more there than the arithmetic that it is for.
    """
    shape, dtype = like.shape, torch.promote_types(like.dtype, torch.float32)
    if like.is_cuda:
        return torch.empty(7, *shape, dtype=dtype, device=like.device).split((3, 2, 2))
    return _kept_blocks(-(-CACHED // shape[-1]), shape[-1], dtype)[:, : len(like)].split((3, 2, 2))


@functools.lru_cache(maxsize=1)
def _kept_blocks(rows: int, vocabulary_size: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # else they could not be overwritten outside of that mode later
        return torch.empty(7, rows, vocabulary_size, dtype=dtype)


def _normalise(weights: Tensor) -> Tensor:
    """Divide `weights` (2, N, V) by their sums, in place, and return the logarithms of these, (2, N, 1)."""
    total = weights.sum(-1, keepdim=True)
    weights.div_(total)
    return total.log()


def _entropies_and_kl(shifted: Tensor, p: Tensor, log_totals: Tensor) -> dict[str, Tensor]:
    """Entropies and both KL divergences.

    Args:
        shifted: (3, N, V) logits of base and tuned policy, each less its largest, and their difference.
        p: (2, N, V) probabilities. log_totals: (2, N, 1) with log p = shifted - log_totals.
    """
    expected = _expected(p, shifted)  # of the three, under either policy
    total_base, total_tuned = log_totals.squeeze(-1)
    columns = {
        "kl_base_tuned": expected[0, 2] - (total_base - total_tuned),
        "kl_tuned_base": (total_base - total_tuned) - expected[1, 2],
        "entropy_base": total_base - expected[0, 0],
        "entropy_tuned": total_tuned - expected[1, 1],
    }
    if expected.isfinite().all():
        return {name: values.clamp(min=0.0) for name, values in columns.items()}
    logp = shifted[:2] - log_totals  # some logits are -inf: these ask for care with 0 log 0
    return {
        "kl_base_tuned": kl_of(p[0], logp[0], logp[1]),
        "kl_tuned_base": kl_of(p[1], logp[1], logp[0]),
        "entropy_base": entropy_of(p[0], logp[0]),
        "entropy_tuned": entropy_of(p[1], logp[1]),
    }


def _expected(p: Tensor, values: Tensor) -> Tensor:
    """Sums over V of p (P, N, V) times values (S, N, V), all pairs, without a block of products: (P, S, N).

    In runs of RUN tokens, whose sums are then added: one long sum in float32 is off by 1e-5 at V = 49,152.
    """
    whole = p.shape[-1] // RUN * RUN
    runs = (block[..., :whole].unflatten(-1, (-1, RUN)) for block in (p, values))
    rest = torch.einsum("pnv,snv->psn", p[..., whole:], values[..., whole:])
    return torch.einsum("pncv,sncv->psnc", *runs).sum(-1) + rest
