"""Trained models as Hugging Face folders, each with a model card."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from tokenshift.config.models import Rl
from tokenshift.config.specs import TrainingSpec

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

ORIGINS = {
    "pretrain": "next-token training",
    "sft": "supervised fine-tuning on written solutions",
    "rl": "reinforcement learning with verifiable rewards",
}


def export(engine: "DeepSpeedEngine", tokenizer: PreTrainedTokenizerBase, folder: str | Path, card: str) -> None:
    """Write the engine's model, in the precision of training, its tokenizer and its `card` as a Hugging Face folder.

    Every process has to call this; the first one writes.
    """
    model = engine.module.model
    state = _consolidated_state(model)
    if dist.get_rank() == 0:
        logging.disable_progress_bar()
        model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)
        (Path(folder) / "README.md").write_text(card)


def model_card(spec: TrainingSpec, origin: str, base: str | None, data: str) -> str:
    """Model card in Markdown: how, from which model and on which data a model was trained.

    Args:
        spec: of the training script.
        origin: how the model was trained: pretrain, sft or rl, which is also the key of its settings in `spec`.
        base: name of the model that training started from; None for random weights.
        data: name of the corpus or problem set.
    """
    metadata = ["library_name: transformers", "pipeline_tag: text-generation", f"tags: [tokenshift, {origin}]"]
    metadata += [] if base is None else [f"base_model: {base}"]
    settings = getattr(spec, origin)
    recipe = f" by the recipe `{settings.recipe}`" if isinstance(settings, Rl) else ""
    rows = [f"| `{key}` | `{json.dumps(value, sort_keys=True)}` |" for key, value in sorted(settings.plain().items())]
    return "\n".join(
        [
            "---",
            *metadata,
            "---",
            "",
            f"Made by {ORIGINS[origin]}{recipe} from {base or 'random weights'} on `{data}`, seed {spec.seed}.",
            f"Prompt: `{json.dumps(spec.prompt.plain(), sort_keys=True)}`.",
            "",
            "| Setting | Value |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


def _consolidated_state(module: PreTrainedModel) -> dict[str, Tensor]:
    """Whole tensors of `module` on the CPU by name, tied weights once."""
    import deepspeed

    state, seen = {}, set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            # One at a time: a model that needs ZeRO stage 3 does not fit on one device.
            with deepspeed.zero.GatheredParameters([tensor]):
                state[name] = tensor.detach().cpu().clone()
    return state
