"""A policy: a model with what sampling needs to know of it; loading one, or the two of a pair, onto devices."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokenshift.config.compute import Hardware
from tokenshift.policies.models import load_model, load_models, load_tokenizer, vocabulary

# Devices of base and tuned model, by compute.placement; "auto" spreads a model over all GPUs.
PLACES = {"apart": ("cuda:0", "cuda:1"), "sharded": ("auto", "auto")}


@dataclass(frozen=True)
class Policy:
    """A model with what decoding needs to know of it."""

    model: PreTrainedModel
    stop_token_ids: tuple[int, ...]  # any of these ends a response
    vocabulary_size: int  # outputs beyond are padding rows, never drawn

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> "Policy":
        """Policy of `model`: ends at its generation config's end-of-sequence tokens or the tokenizer's."""
        configured = model.generation_config.eos_token_id
        stops = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        return cls(model, tuple(sorted(stops - {None})), len(vocabulary(tokenizer)))


def load_policy(folder: Path, compute: Hardware, place: int = 0) -> Policy:
    """The policy of a model folder, as the study's `compute` section says; `place` 1 for the second of a pair.

    Raises StudyError when the folder has no weights or no tokenizer.
    """
    together = (compute.device, compute.device)
    device = PLACES.get(compute.placement, together)[place]
    return Policy.of(load_model(folder, compute.dtype, device), load_tokenizer(folder))


def load_pair(base: Path, tuned: Path, compute: Hardware) -> tuple[Policy, Policy]:
    """Both policies of a pair; a base and its adapter share the base's weights."""
    devices = PLACES.get(compute.placement, (compute.device, compute.device))
    models = load_models(base, tuned, compute.dtype, devices)
    return tuple(Policy.of(model, load_tokenizer(folder)) for model, folder in zip(models, (base, tuned), strict=True))
