"""Adapters (LoRA, library peft): a tuned model as a few weights beside those of its base, which both then share."""

import copy
import json
from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel

from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import folder_hash

ADAPTER = "adapter"  # folder of the adapter within that of the model


def has_adapter(folder: Path) -> bool:
    """Whether a model folder is a base with an adapter."""
    return (folder / ADAPTER).is_dir()


def with_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """`model`, the base, with the layers of the adapter in the model folder `folder` put into it.

    Raises StudyError when the adapter is not one of safetensors for this base.
    """
    from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

    place = folder / ADAPTER
    try:
        config = PeftConfig.from_pretrained(str(place))
        config.inference_mode = True
        weights = load_file(place / "adapter_model.safetensors")
        injected = inject_adapter_in_model(config, model)
        result = set_peft_model_state_dict(injected, weights)
    except Exception as error:  # peft raises whatever a broken file, or another base, leads to
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise StudyError(f"{place}: not an adapter of this base ({said})") from None
    unknown = sorted(result.unexpected_keys)
    missing = sorted(name for name in result.missing_keys if "lora_" in name)
    if unknown or missing:
        raise StudyError(
            f"{place}: an adapter of another base: {len(unknown)} weights too many, {len(missing)} missing, the first "
            f"{(unknown + missing)[0]}"
        )
    return injected.to(dtype=model.dtype).eval()


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A model whose adapter's layers are added to the weights that they change: one that can be trained and saved."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    return model


def sharing(model: PreTrainedModel) -> PreTrainedModel:
    """Another model with the very same weights in memory."""
    held = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in held})


def same_base(base: Path, tuned: Path) -> bool:
    """Whether the model folder `tuned` is that of `base` with an adapter."""
    if not has_adapter(tuned) or has_adapter(base):
        return False
    ours, theirs = (_weights(folder) for folder in (base, tuned))
    return ours == theirs


def _weights(folder: Path) -> dict[str, str]:
    """Hashes of the files of weights of a model folder, its adapter's apart."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return {"": folder_hash(folder)}
    described = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
    return {name: hashed for name, hashed in described.items() if name.endswith(".safetensors") and "/" not in name}
