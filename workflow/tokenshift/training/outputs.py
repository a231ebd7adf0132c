"""What training writes: models as Hugging Face folders, checkpoints, and one line of metrics a step."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


def export(engine: "DeepSpeedEngine", tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write the model, in the precision of training, and its tokenizer as a Hugging Face folder.

    Every process has to call it; the first one writes.
    """
    state = _consolidated_state(engine.module)
    if dist.get_rank() == 0:
        logging.disable_progress_bar()
        engine.module.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)


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


def checkpoint_due(step: int, steps: int, every: int | None) -> bool:
    """Whether `step` is a multiple of `every` or the last of `steps`; never when `every` is None."""
    return every is not None and (step % every == 0 or step == steps)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the model after `step` is kept in the model folder of the run."""
    return folder / "checkpoints" / f"step-{step:06d}"


def append_metrics(folder: Path, row: dict[str, float | int | None]) -> None:
    """Append `row` to metrics.jsonl of `folder`. It holds no times: two runs of one study write the same bytes."""
    if dist.get_rank() == 0:
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
