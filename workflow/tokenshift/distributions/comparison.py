"""All columns of the scores file at a block of positions, in one pass over two blocks of logits.

The full-vocabulary columns come from tokenshift.distributions.reduction; those of the nuclei and candidate lists need
only the most probable tokens, which are found without sorting the vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.distributions.candidates import CANDIDATES, most_probable
from tokenshift.distributions.divergence import js_of
from tokenshift.distributions.reduction import reduce_vocabulary


@dataclass(frozen=True)
class Truncation:
    """Sampling distributions: softmax at `temperature`, cut to the nucleus of mass `top_p`, renormalised."""

    temperature: float
    top_p: float


@dataclass(frozen=True)
class Settings:
    """What is compared beside the full distributions.

    truncation: of the nuclei. ablation: further truncations, of which JS alone is kept. top_k: length of the candidate
    lists. list_minimum: probability below which a candidate is left out of its list.
    """

    truncation: Truncation
    ablation: tuple[Truncation, ...]
    top_k: int
    list_minimum: float

    @classmethod
    def of(cls, scoring: dict) -> "Settings":
        """From plain data: truncation and ablation as mappings of temperature and top_p."""
        ablation = tuple(Truncation(**further) for further in scoring["ablation"])
        return cls(Truncation(**scoring["truncation"]), ablation, scoring["top_k"], scoring["list_minimum"])

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Every temperature that is looked at, once; 1 first."""
        return tuple(dict.fromkeys((1.0, self.truncation.temperature, *(t.temperature for t in self.ablation))))


@dataclass(frozen=True)
class NextToken:
    """One policy's next-token distributions at N positions, at one temperature.

    logits: (N, V) as the model gave them. largest: (N, 1) of each row. log_total: (N, 1) logarithm of the sum of
    exp((logits - largest) / temperature). ids: (N, K) the most probable tokens in descending order, ties by id.
    """

    logits: Tensor
    largest: Tensor
    log_total: Tensor
    ids: Tensor
    temperature: float

    @classmethod
    def of(cls, logits: Tensor, temperature: float) -> "NextToken":
        """Of `logits` (N, V), with CANDIDATES candidates."""
        _, ids = most_probable(logits, CANDIDATES)
        precise = logits if logits.dtype == torch.float64 else logits.float()
        largest = precise.amax(-1, keepdim=True)
        log_total = ((precise - largest) / temperature).logsumexp(-1, keepdim=True)
        return cls(logits, largest, log_total, ids, temperature)

    def logp(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of `tokens` (N, M): (N, M)."""
        shifted = self.logits.gather(-1, tokens).to(self.largest.dtype) - self.largest
        return shifted / self.temperature - self.log_total

    def rank(self, tokens: Tensor) -> Tensor:
        """Rank, from 1, of `tokens` (N, 1) among all tokens: (N,)."""
        values, candidates = self.logits.gather(-1, tokens), self.logits.gather(-1, self.ids)
        ranks = (candidates > values).sum(-1) + 1
        beyond = (values <= candidates[:, -1:]).squeeze(-1).nonzero().squeeze(-1)
        if len(beyond):
            ranks[beyond] = (self.logits[beyond] > values[beyond]).sum(-1) + 1
        return ranks

    def rows(self, index: Tensor, candidates: int) -> "NextToken":
        """That of some positions, with another number of candidates."""
        logits = self.logits[index]
        _, ids = most_probable(logits, candidates)
        return NextToken(logits, self.largest[index], self.log_total[index], ids, self.temperature)


Pair = dict[str, NextToken]  # of "base" and "tuned"


def compare(logits_base: Tensor, logits_tuned: Tensor, tokens: Tensor, settings: Settings) -> dict[str, Tensor]:
    """All statistics of the scores file at N positions (schemas.SCORES, without the keys).

    Args:
        logits_base: (N, V) of the base policy. logits_tuned: (N, V) of the tuned one.
        tokens: (N,) response tokens at these positions.
        settings: of nuclei, ablation and lists.

    Returns:
        One tensor (N,) or, for the columns of lists, (N, K) per column. Ids of candidates below settings.list_minimum
        are -1.
    """
    logits = {"base": logits_base, "tuned": logits_tuned}
    temperatures = settings.temperatures
    reduced = reduce_vocabulary(logits_base, logits_tuned, temperatures, max(CANDIDATES, settings.top_k))
    of_pair = {name: [reduced.pop(f"{kind}_{name}") for kind in ("largest", "log_totals", "ids")] for name in logits}
    js_at = dict(zip(temperatures, reduced.pop("js_at").unbind(-1), strict=True))
    at: dict[float, Pair] = {
        temperature: {
            name: NextToken(logits[name], largest, log_totals[:, index : index + 1], ids, temperature)
            for name, (largest, log_totals, ids) in of_pair.items()
        }
        for index, temperature in enumerate(temperatures)
    }
    columns = reduced | _lists(at[1.0], tokens, settings)
    main, *further = (
        compare_nuclei(at[cut.temperature], cut.top_p, js_at[cut.temperature])
        for cut in (settings.truncation, *settings.ablation)
    )
    ablated = [cut["js_nucleus"] for cut in further]
    columns["js_ablation"] = torch.stack([columns["js"], *ablated], dim=-1)[:, 1:]
    return columns | main


def _lists(pair: Pair, tokens: Tensor, settings: Settings) -> dict[str, Tensor]:
    """Columns of the response's tokens, of the policies' first candidates in each other, and of both lists."""
    columns = {}
    for name, other in (("base", "tuned"), ("tuned", "base")):
        own, others_top1 = pair[name], pair[other].ids[:, :1]
        columns[f"logp_{name}"] = own.logp(tokens[:, None]).squeeze(-1)
        columns[f"rank_in_{name}_of_{other}_top1"] = own.rank(others_top1)
        columns[f"logp_{name}_of_{other}_top1"] = own.logp(others_top1).squeeze(-1)
        ids = own.ids[:, : settings.top_k]
        logps = own.logp(ids)
        columns[f"top_logps_{name}"] = logps
        columns[f"top_ids_{name}"] = ids.where(logps.exp() >= settings.list_minimum, -1)
    columns["top_shared"] = shared_candidates(*(own.ids[:, : settings.top_k] for own in pair.values()))
    return columns


def shared_candidates(first: Tensor, second: Tensor) -> Tensor:
    """How many of the k first of two lists (N, K) of distinct tokens are the same, for k = 1 to K: (N, K)."""
    equal = first[:, :, None] == second[:, None, :]  # (N, K, K)
    return equal.cumsum(-1).cumsum(-2).diagonal(dim1=-2, dim2=-1)


def compare_nuclei(pair: Pair, top_p: float, untruncated_js: Tensor) -> dict[str, Tensor]:
    """Columns of the distributions of `pair`, truncated to nuclei of mass `top_p`; their JS without it is given, (N,).

    Looks at the candidates; where a nucleus may reach beyond them, again, at four times as many.
    """
    vocabulary_size = pair["base"].logits.shape[-1]
    if top_p >= 1:
        return _untruncated_columns(untruncated_js, vocabulary_size)
    p = {name: {whose: own.logp(of.ids).exp() for whose, of in pair.items()} for name, own in pair.items()}
    ids = {name: own.ids for name, own in pair.items()}
    inside, complete = {}, True
    for name in pair:
        inside[name], within = _nucleus(p[name][name], top_p, vocabulary_size)
        complete = complete & within
    columns = _nucleus_columns(p, ids, inside)
    again = (~complete).nonzero().squeeze(-1)
    if len(again):
        rest = {name: own.rows(again, 4 * own.ids.shape[-1]) for name, own in pair.items()}
        for name, values in compare_nuclei(rest, top_p, untruncated_js[again]).items():
            columns[name][again] = values
    return columns


def _untruncated_columns(js: Tensor, vocabulary_size: int) -> dict[str, Tensor]:
    """Columns of nuclei that hold the whole vocabulary."""
    everything, nothing = torch.full_like(js, vocabulary_size).long(), torch.zeros_like(js)
    columns = {"js_nucleus": js}
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
