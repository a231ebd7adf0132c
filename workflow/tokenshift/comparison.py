"""All columns of the scores file at a block of positions, in one pass over two blocks of logits.

The full-vocabulary columns need every token; those of the nuclei and candidate lists need only the most probable ones,
which are found without sorting the vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.divergence import entropy_of, js_of, kl_of, log_probabilities

CANDIDATES = 64  # most probable tokens looked at first; positions with a larger nucleus are looked at again with more
BLOCK = 64  # tokens per block of the search for the most probable ones
CACHED = 2**19  # logits of one policy taken at once on a CPU: the statistics' intermediate blocks then stay in cache


@dataclass(frozen=True)
class Settings:
    """Temperature and top-p of the truncated distributions, and the length of the stored candidate lists."""

    temperature: float
    top_p: float
    top_k: int


def compare(logits_base: Tensor, logits_tuned: Tensor, tokens: Tensor, settings: Settings) -> dict[str, Tensor]:
    """All statistics of the scores file at N positions (schemas.SCORES, without the keys).

    Args:
        logits_base: (N, V) of the base policy. logits_tuned: (N, V) of the tuned one.
        tokens: (N,) response tokens at these positions.
        settings: of the nuclei and lists.
    """
    rows = len(tokens) if logits_base.is_cuda else max(1, CACHED // logits_base.shape[-1])
    split = (block.split(rows) for block in (logits_base, logits_tuned, tokens))
    tiles = [_compare_tile(*tile, settings) for tile in zip(*split, strict=True)]
    return {name: torch.cat([tile[name] for tile in tiles]) for name in tiles[0]}


def _compare_tile(logits_base: Tensor, logits_tuned: Tensor, tokens: Tensor, settings: Settings) -> dict[str, Tensor]:
    """Statistics of so few positions that a dozen (N, V) blocks can exist."""
    logp = {"base": log_probabilities(logits_base), "tuned": log_probabilities(logits_tuned)}
    p = {name: own.exp() for name, own in logp.items()}
    columns = {
        "js": js_of(p["base"], p["tuned"]),
        "kl_base_tuned": kl_of(p["base"], logp["base"], logp["tuned"]),
        "kl_tuned_base": kl_of(p["tuned"], logp["tuned"], logp["base"]),
    }
    candidates = max(CANDIDATES, settings.top_k)
    top = {name: most_probable(own, candidates) for name, own in logp.items()}
    for name, other in (("base", "tuned"), ("tuned", "base")):
        values, ids = top[name]
        others_top1 = top[other][1][:, 0]
        columns[f"entropy_{name}"] = entropy_of(p[name], logp[name])
        columns[f"logp_{name}"] = logp[name].gather(-1, tokens[:, None]).squeeze(-1)
        columns[f"top_ids_{name}"] = ids[:, : settings.top_k]
        columns[f"top_logps_{name}"] = values[:, : settings.top_k]
        columns[f"rank_in_{name}_of_{other}_top1"] = _rank(logp[name], values, others_top1)
        columns[f"logp_{name}_of_{other}_top1"] = logp[name].gather(-1, others_top1[:, None]).squeeze(-1)
    if settings.temperature != 1:
        logp = {name: log_probabilities(own, settings.temperature) for name, own in logp.items()}
    ids = {name: found for name, (_, found) in top.items()}
    return columns | compare_nuclei(logp, ids, settings.top_p)


def most_probable(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest of `values` (N, V), or all V if fewer, and their ids: (N, k) each, ties by id.

    Only the k blocks with the largest maxima can hold them, so only those are searched.
    """
    size = values.shape[-1]
    whole = size // BLOCK
    if k >= whole:
        found, ids = values.topk(min(k, size), dim=-1)
    else:
        blocks = values[:, : whole * BLOCK].unflatten(-1, (whole, BLOCK))
        best = blocks.amax(-1).topk(k, dim=-1).indices  # (N, k)
        searched = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
        searched = torch.cat([searched, values[:, whole * BLOCK :]], dim=-1)
        found, place = searched.topk(k, dim=-1)
        in_blocks = best.gather(-1, (place // BLOCK).clamp(max=k - 1)) * BLOCK + place % BLOCK
        ids = torch.where(place < k * BLOCK, in_blocks, place - k * BLOCK + whole * BLOCK)
    by_id = ids.argsort(dim=-1)
    found, ids = found.gather(-1, by_id), ids.gather(-1, by_id)
    by_value = found.argsort(dim=-1, descending=True, stable=True)
    return found.gather(-1, by_value), ids.gather(-1, by_value)


def _rank(values: Tensor, largest: Tensor, tokens: Tensor) -> Tensor:
    """Rank, from 1, of `tokens` (N,) by `values` (N, V), whose largest are given in order, (N, k)."""
    own = values.gather(-1, tokens[:, None])
    ranks = (largest > own).sum(-1) + 1
    beyond = (own <= largest[:, -1:]).squeeze(-1).nonzero().squeeze(-1)
    if len(beyond):
        ranks[beyond] = (values[beyond] > own[beyond]).sum(-1) + 1
    return ranks


def compare_nuclei(logp: dict[str, Tensor], ids: dict[str, Tensor], top_p: float) -> dict[str, Tensor]:
    """Columns of the truncated distributions of "base" and "tuned".

    Looks at given candidates; where a nucleus may reach beyond them, again, at 16 times as many.

    Args:
        logp: (N, V) log-probabilities of each policy at the sampling temperature.
        ids: (N, K) each policy's K most probable tokens, in descending order, ties by id.
        top_p: mass of the nuclei.
    """
    if top_p >= 1:
        return _untruncated_columns(logp["base"].exp(), logp["tuned"].exp())
    p = {name: {whose: own.gather(-1, of).exp() for whose, of in ids.items()} for name, own in logp.items()}
    inside, complete = {}, True
    for name, own in logp.items():
        inside[name], within = _nucleus(p[name][name], top_p, own.shape[-1])
        complete = complete & within
    columns = _nucleus_columns(p, ids, inside)
    again = (~complete).nonzero().squeeze(-1)
    if len(again):
        wider = 16 * ids["base"].shape[-1]
        rest = {name: own[again] for name, own in logp.items()}
        ids = {name: most_probable(own, wider)[1] for name, own in rest.items()}
        for name, values in compare_nuclei(rest, ids, top_p).items():
            columns[name][again] = values
    return columns


def _untruncated_columns(p: Tensor, q: Tensor) -> dict[str, Tensor]:
    """Columns of nuclei that hold the whole vocabulary, from (N, V) probabilities."""
    everything, nothing = torch.full_like(p[:, 0], p.shape[-1]).long(), torch.zeros_like(p[:, 0])
    columns = {"js_nucleus": js_of(p, q)}
    for name in ("base", "tuned"):
        columns[f"nucleus_size_{name}"] = everything
        columns |= {f"mass_{name}_{kind}": nothing for kind in ("base_only", "tuned_only")}
        columns[f"mass_{name}_shared"] = torch.ones_like(nothing)
    return columns


def _nucleus(found: Tensor, top_p: float, vocabulary_size: int) -> tuple[Tensor, Tensor]:
    """Which of the candidates of probabilities `found` (N, K), descending, are in the nucleus, and whether all are."""
    before = found.cumsum(-1, dtype=torch.float64) - found
    inside = before < top_p
    # A token as probable as the last candidate may have a rival of a lower id among those not looked at.
    complete = ~inside[:, -1] & ((found > found[:, -1:]) | ~inside).all(-1)
    return inside, complete | (found.shape[-1] == vocabulary_size)


def _nucleus_columns(
    p: dict[str, dict[str, Tensor]], ids: dict[str, Tensor], inside: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Columns from p[policy][whose] (N, K), each policy's probability of each one's candidates, and their nuclei."""
    shared = {
        "base": inside["base"] & _reached(p["tuned"], ids, inside, "tuned", "base"),
        "tuned": inside["tuned"] & _reached(p["base"], ids, inside, "base", "tuned"),
    }
    columns = {f"nucleus_size_{name}": mask.sum(-1) for name, mask in inside.items()}
    truncated = []
    for name in ("base", "tuned"):
        of_base, of_tuned = p[name]["base"], p[name]["tuned"]
        both = of_base * shared["base"]
        base_only, tuned_only = (
            of_base * (inside["base"] & ~shared["base"]),
            of_tuned * (inside["tuned"] & ~shared["tuned"]),
        )
        columns |= {
            f"mass_{name}_shared": both.sum(-1),
            f"mass_{name}_base_only": base_only.sum(-1),
            f"mass_{name}_tuned_only": tuned_only.sum(-1),
        }
        # Over the union of the nuclei: the base's candidates, then the tuned policy's own.
        none = torch.zeros_like(both)
        union = torch.cat([both + base_only, none] if name == "base" else [both, tuned_only], dim=-1)
        truncated.append(union / union.sum(-1, keepdim=True))
    columns["js_nucleus"] = js_of(*truncated)
    return columns


def _reached(p: dict[str, Tensor], ids: dict[str, Tensor], inside: dict[str, Tensor], owner: str, other: str) -> Tensor:
    """Which of `other`'s candidates (N, K) lie in the nucleus of `owner`, whose probabilities of both are `p`."""
    last = (inside[owner].sum(-1, keepdim=True) - 1).clamp(min=0)  # no token is in the nucleus of broken logits
    lowest, last_id = p[owner].gather(-1, last), ids[owner].gather(-1, last)
    return (p[other] > lowest) | ((p[other] == lowest) & (ids[other] <= last_id))
