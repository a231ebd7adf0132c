"""What needs every token of the vocabulary: two blocks of logits reduced to a few numbers and candidates a position."""

import torch
from torch import Tensor

from tokenshift.distributions import kernels
from tokenshift.distributions.candidates import most_probable
from tokenshift.distributions.divergence import entropy_of, js_of, kl_of, log_probabilities


def reduce_vocabulary(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int
) -> dict[str, Tensor]:
    """Reduce the logits of base and tuned policy (N, V) over the vocabulary.

    Args:
        logits_base: (N, V). logits_tuned: (N, V).
        temperatures: distinct, 1 among them.
        candidates: how many of the most probable tokens.

    Returns:
        js, kl_base_tuned, kl_tuned_base, and for each policy entropy_{policy}, all (N,) at temperature 1; js_at
        (N, temperatures). For each policy largest_{policy} (N, 1), its largest logit; log_totals_{policy}
        (N, temperatures), the logarithm of the sum of exp((logits - largest) / temperature); ids_{policy}
        (N, candidates), its most probable tokens in descending order, ties by id.
    """
    if not (kernels.serves(logits_base) and kernels.serves(logits_tuned)):
        return _by_definition(logits_base, logits_tuned, temperatures, candidates)
    columns = kernels.reduce_rows(logits_base, logits_tuned, temperatures, candidates)
    infinite = (~(columns["entropy_base"] + columns["entropy_tuned"]).isfinite()).nonzero().squeeze(-1)
    if len(infinite):
        rest = _by_definition(logits_base[infinite], logits_tuned[infinite], temperatures, candidates)
        for name, values in rest.items():
            columns[name][infinite] = values
    return columns


def _by_definition(
    logits_base: Tensor, logits_tuned: Tensor, temperatures: tuple[float, ...], candidates: int
) -> dict[str, Tensor]:
    """`reduce_vocabulary` on any device, in any precision, of any logits: through log-probabilities of all tokens."""
    columns, js_at = {}, []
    for policy, logits in (("base", logits_base), ("tuned", logits_tuned)):
        precise = torch.promote_types(logits.dtype, torch.float32)
        _, columns[f"ids_{policy}"] = most_probable(logits, candidates)
        largest = columns[f"largest_{policy}"] = logits.amax(-1, keepdim=True).to(precise)
        totals = [((logits - largest) / temperature).logsumexp(-1) for temperature in temperatures]
        columns[f"log_totals_{policy}"] = torch.stack(totals, dim=-1)
    for temperature in temperatures:
        logp, logq = (log_probabilities(logits, temperature) for logits in (logits_base, logits_tuned))
        p, q = logp.exp(), logq.exp()
        js_at.append(js_of(p, q))
        if temperature == 1:
            columns["js"] = js_at[-1]
            columns |= {"entropy_base": entropy_of(p, logp), "entropy_tuned": entropy_of(q, logq)}
            columns |= {"kl_base_tuned": kl_of(p, logp, logq), "kl_tuned_base": kl_of(q, logq, logp)}
    return columns | {"js_at": torch.stack(js_at, dim=-1)}
