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
        blocks = {"base": logits_base, "tuned": logits_tuned}
        p = {name: log_probabilities(block, settings.temperature).exp() for name, block in blocks.items()}
    return columns | compare_nuclei(p["base"], p["tuned"], settings.top_p, candidates)


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


def compare_nuclei(p: Tensor, q: Tensor, top_p: float, candidates: int) -> dict[str, Tensor]:
    """Columns of the truncated distributions of the base `p` and the tuned policy `q`, (N, V) probabilities.

    Looks at the `candidates` most probable tokens; where a nucleus may reach beyond them, again, at 16 times as many.
    """
    ids, inside, complete = {}, {}, torch.ones(len(p), dtype=torch.bool, device=p.device)
    for name, probs in (("base", p), ("tuned", q)):
        ids[name], inside[name], within = _nucleus(probs, top_p, candidates)
        complete &= within
    columns = _nucleus_columns(p, q, ids, inside)
    again = (~complete).nonzero().squeeze(-1)
    if len(again):
        for name, values in compare_nuclei(p[again], q[again], top_p, candidates * 16).items():
            columns[name][again] = values
    return columns


def _nucleus(probs: Tensor, top_p: float, candidates: int) -> tuple[Tensor, Tensor, Tensor]:
    """Candidate ids (N, k), which of them are in the nucleus (N, k), and whether the nucleus is complete (N,)."""
    if top_p >= 1:
        candidates = probs.shape[-1]
    found, ids = most_probable(probs, candidates)
    before = found.cumsum(-1, dtype=torch.float64) - found
    inside = (before < top_p) | (top_p >= 1)
    # A token as probable as the last candidate may have a rival of a lower id among those not looked at.
    complete = ~inside[:, -1] & ((found > found[:, -1:]) | ~inside).all(-1)
    complete |= torch.tensor(ids.shape[-1] == probs.shape[-1], device=probs.device)
    widest = int(inside.sum(-1).max())
    return ids[:, :widest], inside[:, :widest], complete


def _nucleus_columns(p: Tensor, q: Tensor, ids: dict[str, Tensor], inside: dict[str, Tensor]) -> dict[str, Tensor]:
    members = {
        name: torch.zeros_like(p, dtype=torch.bool).scatter_(-1, ids[name], inside[name]) for name in ("base", "tuned")
    }
    shared = inside["base"] & members["tuned"].gather(-1, ids["base"])
    kinds = {
        "shared": (ids["base"], shared),
        "base_only": (ids["base"], inside["base"] & ~shared),
        "tuned_only": (ids["tuned"], inside["tuned"] & ~members["base"].gather(-1, ids["tuned"])),
    }
    columns = {f"nucleus_size_{name}": inside[name].sum(-1) for name in ("base", "tuned")}
    masses = {}
    for name, probs in (("base", p), ("tuned", q)):
        masses[name] = {kind: probs.gather(-1, where) * mask for kind, (where, mask) in kinds.items()}
        columns |= {f"mass_{name}_{kind}": mass.sum(-1) for kind, mass in masses[name].items()}
    # Both truncated distributions over the union of the nuclei: base's candidates, then the tuned policy's own.
    none = torch.zeros_like(masses["base"]["tuned_only"])
    truncated_base = torch.cat([masses["base"]["shared"] + masses["base"]["base_only"], none], dim=-1)
    truncated_tuned = torch.cat([masses["tuned"]["shared"], masses["tuned"]["tuned_only"]], dim=-1)
    columns["js_nucleus"] = js_of(
        truncated_base / truncated_base.sum(-1, keepdim=True), truncated_tuned / truncated_tuned.sum(-1, keepdim=True)
    )
    return columns
