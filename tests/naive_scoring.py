"""The scores straight from their definitions, over dense float64 probabilities: the reference of the tests."""

import numpy as np
from scipy.spatial.distance import jensenshannon

from tokenshift.config.measurements import Compared, Truncation


def naive_row(logits: list[np.ndarray], token: int, truncation: Truncation, compared: Compared) -> dict:
    """Scores at a position: next-token logits (V,) of base and tuned policy in float64, and the response's token."""
    p, q = (softmax(block, 1.0) for block in logits)
    row = {"token_id": token, "js": jensenshannon(p, q) ** 2}
    cut = [truncated(block, truncation) for block in logits]
    row["js_nucleus"] = jensenshannon(*(np.where(inside, warm, 0) for warm, inside in cut)) ** 2
    row["js_ablation"] = [
        jensenshannon(*(np.where(inside, warm, 0) for warm, inside in (truncated(block, further) for block in logits)))
        ** 2
        for further in compared.ablation
    ]
    row["kl_base_tuned"], row["kl_tuned_base"] = (p * np.log(p / q)).sum(), (q * np.log(q / p)).sum()
    of_base, of_tuned = (inside for _, inside in cut)
    groups = {"shared": of_base & of_tuned, "base_only": of_base & ~of_tuned, "tuned_only": of_tuned & ~of_base}
    orders = [np.argsort(-own, kind="stable")[: compared.top_k] for own in (p, q)]
    row["top_shared"] = [len(set(orders[0][:k]) & set(orders[1][:k])) for k in range(1, compared.top_k + 1)]
    both = (("base", p, q, cut[0], orders[0]), ("tuned", q, p, cut[1], orders[1]))
    for name, own, other, (warm, inside), order in both:
        rival = "tuned" if name == "base" else "base"
        row[f"entropy_{name}"] = -(own * np.log(own)).sum()
        row[f"logp_{name}"] = np.log(own[token])
        row[f"rank_in_{name}_of_{rival}_top1"] = int((own > own[other.argmax()]).sum() + 1)
        row[f"logp_{name}_of_{rival}_top1"] = np.log(own[other.argmax()])
        row[f"nucleus_size_{name}"] = int(inside.sum())
        listed = order[own[order] >= compared.list_minimum]
        row[f"top_ids_{name}"] = listed.tolist()
        row[f"top_logps_{name}"] = np.log(own[listed]).tolist()
        for kind, members in groups.items():
            row[f"mass_{name}_{kind}"] = warm[members].sum()
    return row


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (V,) at a temperature."""
    weights = np.exp((logits - logits.max()) / temperature)
    return weights / weights.sum()


def truncated(logits: np.ndarray, truncation: Truncation) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (V,) at the truncation's temperature, and its nucleus as a mask (V,)."""
    warm = softmax(logits, truncation.temperature)
    order = np.argsort(-warm, kind="stable")
    size = len(warm) if truncation.top_p == 1 else int(np.searchsorted(np.cumsum(warm[order]), truncation.top_p) + 1)
    return warm, np.isin(np.arange(len(warm)), order[:size])
