"""Loading models and tokenizers from Hugging Face folders."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.distributed import DistributedConfig
from transformers.utils import logging
from transformers.utils.logging import disable_progress_bar

from tokenshift.errors import StudyError
from tokenshift.policies.adapters import has_adapter, merged, same_base, sharing, with_adapter

GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
SAFE_WEIGHTS, PICKLED_WEIGHTS = "*.safetensors", "pytorch_model*.bin"
# How transformers is told to spread a model, by what stands in a device's place.
SPREAD: dict[str, Callable[[], dict[str, Any]]] = {
    "layers": lambda: {"device_map": "auto"},
    "parts": lambda: {"distributed_config": DistributedConfig(tp_plan="auto")},
}
REMOTE_CODE = "TOKENSHIFT_REMOTE_CODE"  # variable with the names of models whose own code may run


def require_weights(folder: str | Path, pickled: bool = True) -> None:
    """Raise StudyError unless `folder` holds config.json and weights, which unless `pickled` are safetensors."""
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"no model folder {folder}")
    if not (folder / "config.json").is_file():
        raise StudyError(f"{folder} holds no config.json: not a model in Hugging Face format")
    if any(folder.glob(SAFE_WEIGHTS)):
        return
    if not any(folder.glob(PICKLED_WEIGHTS)):
        looked = f"{SAFE_WEIGHTS}, {PICKLED_WEIGHTS}"
        raise StudyError(f"{folder} holds no weights (looked for {looked}); download or export them first")
    if not pickled:
        convert = "from transformers import AutoModelForCausalLM as M; "
        convert += f"M.from_pretrained('{folder}').save_pretrained('{folder}')"
        raise StudyError(
            f"{folder} holds its weights as pickles ({PICKLED_WEIGHTS}), which could run code: convert them where you "
            f'trust them (`python -c "{convert}"`), or say `pickled: true` of the model'
        )


def require_loadable(folder: Path, remote_code: bool) -> None:
    """Raise StudyError unless the folder's tokenizer loads and its weights are those that its config.json asks for.

    Reads the names and shapes of the weights alone, but for those of an adapter.
    """
    load_tokenizer(folder, remote_code)
    model = _loaded(folder, remote_code, device_map="meta")
    if has_adapter(folder):
        with_adapter(model, folder)


def save_from_gguf(file: Path, folder: Path) -> None:
    """Make a model folder from a GGUF file: the weights in float32, as its quantisation has them, and the tokenizer.

    Raises StudyError when transformers cannot read such a file.
    """
    disable_progress_bar()
    try:
        where = {"gguf_file": file.name, "trust_remote_code": False}
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        # The weights are plain numbers now, but transformers would refuse to save what it calls quantised.
        model.config.__dict__.pop("quantization_config", None)
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(file.parent, **where).save_pretrained(folder)
    except Exception as error:  # whatever the many kinds of GGUF lead to
        raise StudyError(f"{file}: not a GGUF file that a model can be made from ({_brief(error)})") from None


def load_tokenizer(folder: str | Path, remote_code: bool | None = None) -> PreTrainedTokenizerBase:
    """Tokenizer of a model folder; it may be code of its own if `remote_code`, by default where the study trusts it.

    Raises StudyError when there is none.
    """
    trusted = trusts(folder) if remote_code is None else remote_code
    try:
        # AutoTokenizer replaces a tokenizer declared as the generic class by the usual one of the model's architecture.
        declared = Path(folder) / "tokenizer_config.json"
        described = json.loads(declared.read_text(encoding="utf-8")) if declared.is_file() else {}
        generic = described.get("tokenizer_class") in GENERIC_TOKENIZERS
        kind = PreTrainedTokenizerFast if generic else AutoTokenizer
        tokenizer = kind.from_pretrained(folder, trust_remote_code=trusted)
    except Exception as error:  # tokenizers raises bare exceptions, transformers whatever a broken file leads to
        raise StudyError(f"{folder}: no usable tokenizer ({_brief(error)})") from None
    # Without any of its files transformers makes up an empty one.
    files = {*tokenizer.vocab_files_names.values(), "tokenizer.json", "tekken.json"}
    if tokenizer.vocab_files_names and not any((Path(folder) / name).is_file() for name in files):
        raise StudyError(f"{folder}: no usable tokenizer (looked for {', '.join(sorted(files))})")
    return tokenizer


def load_model(folder: str | Path, dtype: str, device: str) -> PreTrainedModel:
    """Causal LM of a model folder, in evaluation mode, in `dtype` (a torch name) on `device`.

    On device "layers" its layers are spread over all GPUs; on "parts" a part of each weight is held by each process of
    the job (policies.tensor_parallel). An adapter is merged into the weights. Raises StudyError when the folder has no
    weights, or others than its config.json asks for, and when they do not fit into memory.
    """
    model = _load_base(Path(folder), dtype, device)
    return merged(with_adapter(model, Path(folder))) if has_adapter(Path(folder)) else model


def load_models(
    base: Path, tuned: Path, dtype: str, devices: tuple[str, str]
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The models of a pair, each as by `load_model`; where `tuned` is `base` with an adapter, with its weights shared.

    The adapter's part is then computed beside the shared weights: equal to the merged model but for rounding.
    """
    if devices[0] == devices[1] and same_base(base, tuned):
        ours = load_model(base, dtype, devices[0])
        return ours, with_adapter(sharing(ours), tuned)
    return load_model(base, dtype, devices[0]), load_model(tuned, dtype, devices[1])


def _load_base(folder: Path, dtype: str, device: str) -> PreTrainedModel:
    require_weights(folder)
    if device in SPREAD:
        return _loaded(folder, trusts(folder), dtype=getattr(torch, dtype), **SPREAD[device]()).eval()
    require_device(device)
    require_memory(folder, dtype, device)
    return _loaded(folder, trusts(folder), dtype=getattr(torch, dtype)).to(device).eval()


def require_memory(folder: Path, dtype: str, device: str) -> None:
    """Raise StudyError when the weights of a model folder cannot fit into the free memory of `device`."""
    files = [*folder.glob(SAFE_WEIGHTS)] or [*folder.glob(PICKLED_WEIGHTS)]
    if not files or any(file.suffix != ".safetensors" for file in files):
        return
    parameters = sum(math.prod(shape) for file in files for shape in _shapes(file))
    needed = parameters * getattr(torch, dtype).itemsize
    free = psutil.virtual_memory().available if device == "cpu" else torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise StudyError(
            f"{folder}: {parameters / 1e9:.1f} billion parameters in {dtype} need {needed / 1e9:.1f} GB, and {device} "
            f"has {free / 1e9:.1f} GB free: set compute.dtype to bfloat16, compute.placement to sharded, or "
            "compute.mem_mb higher"
        )


def _shapes(file: Path) -> list[list[int]]:
    """The shapes of the tensors in a file of safetensors; none where it is broken, which loading tells."""
    try:
        with safe_open(file, "pt") as weights:
            return [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError):
        return []


def require_device(device: str) -> None:
    """Raise StudyError when `device` ("cpu", "cuda" or "cuda:1") is a GPU that PyTorch does not have here."""
    there = torch.cuda.device_count()
    number = int(device.partition(":")[2] or 0)
    if device != "cpu" and number >= there:
        raise StudyError(
            f"compute.device is cuda, but PyTorch {torch.__version__} finds {there} GPUs here: ask for "
            "them (compute.gpus), install PyTorch for CUDA, or set compute.device to cpu"
        )


def trusts(folder: str | Path) -> bool:
    """Whether the study lets code that comes with the model of this name run (pretrained.remote_code)."""
    model = re.search(r"results/[^/]+/models/([^/]+)", str(folder))
    return model is not None and model[1] in os.environ.get(REMOTE_CODE, "").split()


def _loaded(folder: Path, remote_code: bool, **how: Any) -> PreTrainedModel:
    disable_progress_bar()
    said = logging.get_verbosity()
    logging.set_verbosity_error()  # the keys that do not fit are named below
    try:
        if (folder / "generation_config.json").is_file():
            GenerationConfig.from_pretrained(folder)  # transformers would go on without a broken one
        model, about = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=remote_code, output_loading_info=True, ignore_mismatched_sizes=True, **how
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever broken or missing files lead to
        raise StudyError(f"{folder}: no usable model ({_brief(error)})") from None
    finally:
        logging.set_verbosity(said)
    # transformers would draw missing and mis-shaped weights at random.
    for kind in ("missing", "mismatched", "unexpected"):
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in about[f"{kind}_keys"])
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise StudyError(
                f"{folder}: weights do not fit its config.json: {kind} {', '.join(keys[:3])}{more}; get the model's "
                "files again"
            )
    return model


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
