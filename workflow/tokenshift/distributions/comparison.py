"""Every column of the scores file at a block of positions, from the logits of both policies.

What needs the whole vocabulary comes from tokenshift.distributions.reduction, in one pass; what is told of nuclei and
candidate lists needs only the most probable tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenshift.config.measurements import Compared, Truncation
from tokenshift.distributions.candidates import CANDIDATES, Nucleus, most_probable
from tokenshift.distributions.divergence import js_of
from tokenshift.distributions.log_probabilities import at_least_float32
from tokenshift.distributions.reduction import reduce_vocabulary


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
        precise = at_least_float32(logits)
        largest = precise.amax(-1, keepdim=True)
        log_total = ((precise - largest) / temperature).logsumexp(-1, keepdim=True)
        return cls(logits, largest, log_total, ids, temperature)

    def logp(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of `tokens` (N, M): (N, M)."""
        shifted = self.logits.gather(-1, tokens).to(self.largest.dtype) - self.largest
        return shifted / self.temperature - self.log_total

    def rows(self, index: Tensor, candidates: int) -> "NextToken":
        """The same at some of the positions, with another number of candidates."""
        logits = self.logits[index]
        _, ids = most_probable(logits, candidates)
        return NextToken(logits, self.largest[index], self.log_total[index], ids, self.temperature)


def compare(
    logits_base: Tensor,
    logits_tuned: Tensor,
    tokens: Tensor,
    truncation: Truncation,
    compared: Compared,
    wait: bool = True,
) -> dict[str, Tensor]:
    """All statistics of the scores file at N positions (schemas.SCORES, without the keys).

    Args:
        logits_base: (N, V) of the base policy. logits_tuned: (N, V) of the tuned one.
        tokens: (N,) response tokens at these positions.
        truncation: of the sampling distribution whose nuclei are described.
        compared: length of the candidate lists, and further truncations of which JS alone is kept.
        wait: whether to look again at positions whose nuclei may reach beyond the candidates, which waits for a GPU.
            Without, the columns of nuclei are wrong there, and a column `incomplete` says where.

    Returns:
        One tensor (N,) or, for the columns of lists, (N, K) per column. Ids of candidates whose probability is below
        compared.list_minimum are -1.
    """
    truncations = (truncation, *compared.ablation)
    temperatures = tuple(dict.fromkeys((1.0, *(each.temperature for each in truncations))))
    reduced = reduce_vocabulary(logits_base, logits_tuned, temperatures, max(CANDIDATES, compared.top_k))
    js, base, tuned = {}, {}, {}  # by temperature
    for index, temperature in enumerate(temperatures):
        js[temperature] = reduced.js[:, index]
        base[temperature], tuned[temperature] = (
            NextToken(logits, policy.largest, policy.log_totals[:, index : index + 1], policy.ids, temperature)
            for logits, policy in ((logits_base, reduced.base), (logits_tuned, reduced.tuned))
        )
    of_nuclei = compare_nuclei if wait else among_candidates
    nuclei, *ablated = (
        of_nuclei(base[each.temperature], tuned[each.temperature], each.top_p, js[each.temperature])
        for each in truncations
    )
    if not wait:
        nuclei["incomplete"] = torch.stack([columns["incomplete"] for columns in (nuclei, *ablated)]).any(0)
    return {
        "js": js[1.0],
        "js_ablation": torch.stack([js[1.0], *(columns["js_nucleus"] for columns in ablated)], dim=-1)[:, 1:],
        "kl_base_tuned": reduced.kl_base_tuned,
        "kl_tuned_base": reduced.kl_tuned_base,
        "entropy_base": reduced.base.entropy,
        "entropy_tuned": reduced.tuned.entropy,
        "rank_in_base_of_tuned_top1": reduced.base.rank_of_rival,
        "rank_in_tuned_of_base_top1": reduced.tuned.rank_of_rival,
        **_compare_candidates(base[1.0], tuned[1.0], tokens[:, None], compared),
        **nuclei,
    }


def _compare_candidates(base: NextToken, tuned: NextToken, tokens: Tensor, compared: Compared) -> dict[str, Tensor]:
    """Columns of the response's `tokens` (N, 1), of each policy's first candidate under the other, and of the lists."""
    top1_base, top1_tuned = base.ids[:, :1], tuned.ids[:, :1]
    ids_base, ids_tuned = base.ids[:, : compared.top_k], tuned.ids[:, : compared.top_k]
    logps_base, logps_tuned = base.logp(ids_base), tuned.logp(ids_tuned)
    return {
        "logp_base": base.logp(tokens).squeeze(-1),
        "logp_tuned": tuned.logp(tokens).squeeze(-1),
        "logp_base_of_tuned_top1": base.logp(top1_tuned).squeeze(-1),
        "logp_tuned_of_base_top1": tuned.logp(top1_base).squeeze(-1),
        "top_shared": shared_candidates(ids_base, ids_tuned),
        "top_ids_base": ids_base.where(logps_base.exp() >= compared.list_minimum, -1),
        "top_logps_base": logps_base,
        "top_ids_tuned": ids_tuned.where(logps_tuned.exp() >= compared.list_minimum, -1),
        "top_logps_tuned": logps_tuned,
    }


def shared_candidates(first: Tensor, second: Tensor) -> Tensor:
    """How many of the k first of two lists (N, K) of distinct tokens are the same, for k = 1 to K: (N, K)."""
    equal = first[:, :, None] == second[:, None, :]  # (N, K, K)
    return equal.cumsum(-1).cumsum(-2).diagonal(dim1=-2, dim2=-1)


def compare_nuclei(base: NextToken, tuned: NextToken, top_p: float, untruncated_js: Tensor) -> dict[str, Tensor]:
    """Columns of both policies' nuclei of mass `top_p`, and JS of the distributions truncated to them.

    Looks at the candidates; where a nucleus may reach beyond them, again, at four times as many. `untruncated_js` (N,)
    is the JS at the same temperature of the whole distributions.
    """
    columns = among_candidates(base, tuned, top_p, untruncated_js)
    incomplete = columns.pop("incomplete").nonzero().squeeze(-1)
    if len(incomplete):
        wider_base, wider_tuned = (policy.rows(incomplete, 4 * policy.ids.shape[-1]) for policy in (base, tuned))
        for name, values in compare_nuclei(wider_base, wider_tuned, top_p, untruncated_js[incomplete]).items():
            columns[name][incomplete] = values
    return columns


def among_candidates(base: NextToken, tuned: NextToken, top_p: float, untruncated_js: Tensor) -> dict[str, Tensor]:
    """As `compare_nuclei`, as far as the candidates tell; the column `incomplete` (N,) says where they may not."""
    vocabulary_size = base.logits.shape[-1]
    if top_p >= 1:
        return _whole_vocabulary(untruncated_js, vocabulary_size)
    p_base, p_tuned = base.logp(base.ids).exp(), tuned.logp(tuned.ids).exp()
    nucleus_base, nucleus_tuned = (Nucleus.among(p, top_p, vocabulary_size) for p in (p_base, p_tuned))
    inside_base, inside_tuned = nucleus_base.inside, nucleus_tuned.inside
    # Of the base's candidates, then of the tuned policy's: probability under the other policy, and whether it is in
    # the nucleus of both.
    tuned_of_base, base_of_tuned = tuned.logp(base.ids).exp(), base.logp(tuned.ids).exp()
    shared_of_base = inside_base & _reached(tuned_of_base, base.ids, p_tuned, tuned.ids, inside_tuned)
    shared_of_tuned = inside_tuned & _reached(base_of_tuned, tuned.ids, p_base, base.ids, inside_base)
    base_only, tuned_only = inside_base & ~shared_of_base, inside_tuned & ~shared_of_tuned
    # Each policy's probabilities over the union of the nuclei: the base's candidates, then those only of the tuned
    # policy; zero where its own nucleus does not reach.
    nothing = torch.zeros_like(p_base)
    union_base = torch.cat([p_base * shared_of_base + p_base * base_only, nothing], dim=-1)
    union_tuned = torch.cat([tuned_of_base * shared_of_base, p_tuned * tuned_only], dim=-1)
    return {
        "js_nucleus": js_of(_normalised(union_base), _normalised(union_tuned)),
        "nucleus_size_base": inside_base.sum(-1),
        "nucleus_size_tuned": inside_tuned.sum(-1),
        "mass_base_shared": (p_base * shared_of_base).sum(-1),
        "mass_base_base_only": (p_base * base_only).sum(-1),
        "mass_base_tuned_only": (base_of_tuned * tuned_only).sum(-1),
        "mass_tuned_shared": (tuned_of_base * shared_of_base).sum(-1),
        "mass_tuned_base_only": (tuned_of_base * base_only).sum(-1),
        "mass_tuned_tuned_only": (p_tuned * tuned_only).sum(-1),
        "incomplete": ~(nucleus_base.complete & nucleus_tuned.complete),
    }


def _whole_vocabulary(js: Tensor, vocabulary_size: int) -> dict[str, Tensor]:
    """Columns of nuclei that hold the whole vocabulary."""
    size, all_mass, no_mass = torch.full_like(js, vocabulary_size).long(), torch.ones_like(js), torch.zeros_like(js)
    return {
        "js_nucleus": js,
        "nucleus_size_base": size,
        "nucleus_size_tuned": size,
        "mass_base_shared": all_mass,
        "mass_base_base_only": no_mass,
        "mass_base_tuned_only": no_mass,
        "mass_tuned_shared": all_mass,
        "mass_tuned_base_only": no_mass,
        "mass_tuned_tuned_only": no_mass,
        "incomplete": torch.zeros_like(js, dtype=torch.bool),
    }


def _reached(p: Tensor, ids: Tensor, candidates: Tensor, candidate_ids: Tensor, inside: Tensor) -> Tensor:
    """Whether tokens `ids` (N, K) of probability `p` (N, K) under a policy lie in its nucleus.

    Of the policy are given the probabilities and ids (N, K) of its own candidates, in descending order, and which of
    them are in the nucleus: a token is in it that does not come after the last of those.
    """
    last = (inside.sum(-1, keepdim=True) - 1).clamp(min=0)  # no token is in the nucleus of logits that are not finite
    lowest, last_id = candidates.gather(-1, last), candidate_ids.gather(-1, last)
    return (p > lowest) | ((p == lowest) & (ids <= last_id))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)
