"""Loading a model with its tokenizer as a policy, and the two policies of a pair onto their devices."""

from pathlib import Path

from tokenshift.policies.generation import Policy
from tokenshift.policies.models import load_model, load_tokenizer

# Devices of base and tuned model, by compute.placement; "auto" spreads a model over all GPUs.
PLACES = {"apart": ("cuda:0", "cuda:1"), "sharded": ("auto", "auto")}


def load_policy(folder: Path, compute: dict, place: int = 0) -> Policy:
    """The policy of a model folder, as the study's `compute` section says; `place` 1 for the second of a pair.

    Raises StudyError when the folder has no weights or no tokenizer.
    """
    together = (compute["device"], compute["device"])
    device = PLACES.get(compute["placement"], together)[place]
    return Policy.of(load_model(folder, compute["dtype"], device), load_tokenizer(folder))


def load_pair(base: Path, tuned: Path, compute: dict) -> tuple[Policy, Policy]:
    """Both policies of a pair."""
    return load_policy(base, compute), load_policy(tuned, compute, place=1)
