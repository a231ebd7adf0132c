"""A policy: a model with what sampling needs to know of it; loading one, or the two of a pair, onto devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokenshift.config.compute import Hardware
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import PairPrompts
from tokenshift.policies.models import load_model, load_models, load_tokenizer, require_device
from tokenshift.policies.tensor_parallel import split_together
from tokenshift.policies.vocabulary import stop_ids, vocabulary


@dataclass(frozen=True)
class Policy:
    """A model with what decoding needs to know of it."""

    model: PreTrainedModel
    stop_token_ids: tuple[int, ...]  # any of these ends a response
    vocabulary_size: int  # outputs beyond are padding rows, never drawn

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] | None = None
    ) -> "Policy":
        """Policy of `model`: its responses end at `stops`, or at its generation config's or the tokenizer's tokens."""
        stop_token_ids = stop_ids(tokenizer, model.generation_config, stops)
        return cls(model, stop_token_ids, len(vocabulary(tokenizer)))


def load_policy(folder: Path, prompt: Prompt, compute: Hardware, place: int = 0, beside: Sequence[Path] = ()) -> Policy:
    """The policy of a model folder, as the study's `compute` section says; `place` 1 for the second of a pair.

    `beside` are the folders of the models that it works with: all are split over processes, or none.

    Raises StudyError when the folder has no weights or no tokenizer.
    """
    device = _devices(compute, [folder, *beside])[place]
    return Policy.of(load_model(folder, compute.dtype, device), load_tokenizer(folder), prompt.stops)


def load_pair(base: Path, tuned: Path, prompts: PairPrompts, compute: Hardware) -> tuple[Policy, Policy]:
    """Both policies of a pair; a base and its adapter share the base's weights."""
    devices = _devices(compute, [base, tuned])
    models = load_models(base, tuned, compute.dtype, devices)
    parts = zip(models, (base, tuned), (prompts.base, prompts.tuned), strict=True)
    return tuple(Policy.of(model, load_tokenizer(folder), prompt.stops) for model, folder, prompt in parts)


def _devices(compute: Hardware, folders: Sequence[Path]) -> tuple[str, str]:
    """Where base and tuned model lie; raises StudyError where there are no such GPUs."""
    if compute.placement == "apart":
        return "cuda:0", "cuda:1"
    if compute.placement == "together":
        return compute.device, compute.device
    require_device(compute.device)
    return ("parts",) * 2 if split_together(folders) else ("layers",) * 2
