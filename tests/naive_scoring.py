"""The scores straight from their definitions, over dense float64 probabilities: the reference of the tests."""

import numpy as np
from scipy.spatial.distance import jensenshannon

from tokenshift.comparison import Settings


def naive_row(logits: list[np.ndarray], token: int, settings: Settings) -> dict:
    """Scores at a position: next-token logits (V,) of base and tuned policy in float64, and the response's token."""
    p, q = (np.exp(block - block.max()) / np.exp(block - block.max()).sum() for block in logits)
    row = {"token_id": token, "js": jensenshannon(p, q) ** 2}
    cut = []
    for block in logits:
        warm = np.exp((block - block.max()) / settings.temperature)
        warm /= warm.sum()
        order = np.argsort(-warm)
        size = int(np.searchsorted(np.cumsum(warm[order]), settings.top_p) + 1)
        cut.append((warm, set(order[:size].tolist())))
    truncated = [np.where(np.isin(np.arange(len(logits[0])), list(inside)), warm, 0) for warm, inside in cut]
    row["js_nucleus"] = jensenshannon(*truncated) ** 2
    row["kl_base_tuned"], row["kl_tuned_base"] = (p * np.log(p / q)).sum(), (q * np.log(q / p)).sum()
    groups = {"shared": cut[0][1] & cut[1][1], "base_only": cut[0][1] - cut[1][1], "tuned_only": cut[1][1] - cut[0][1]}
    for name, own, other, (warm, inside) in (("base", p, q, cut[0]), ("tuned", q, p, cut[1])):
        rival = "tuned" if name == "base" else "base"
        row[f"entropy_{name}"] = -(own * np.log(own)).sum()
        row[f"logp_{name}"] = np.log(own[token])
        row[f"rank_in_{name}_of_{rival}_top1"] = int((own > own[other.argmax()]).sum() + 1)
        row[f"logp_{name}_of_{rival}_top1"] = np.log(own[other.argmax()])
        row[f"nucleus_size_{name}"] = len(inside)
        row[f"top_ids_{name}"] = np.argsort(-own)[: settings.top_k].tolist()
        row[f"top_logps_{name}"] = np.log(np.sort(own)[::-1][: settings.top_k]).tolist()
        for kind, members in groups.items():
            row[f"mass_{name}_{kind}"] = warm[list(members)].sum()
    return row
