"""Loading models and tokenizers from Hugging Face folders, and refusing pairs that cannot be compared."""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging
from transformers.utils.logging import disable_progress_bar

from tokenshift.errors import StudyError

GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
SAFE_WEIGHTS, PICKLED_WEIGHTS = "*.safetensors", "pytorch_model*.bin"
REMOTE_CODE = "TOKENSHIFT_REMOTE_CODE"  # variable with the names of models whose own code may run


def locate(path: str, revision: str | None) -> Path:
    """Local folder of the model at `path`: that folder, or the hub's snapshot of that id at `revision`.

    Raises StudyError when it is neither.
    """
    if Path(path).is_dir():
        return Path(path).resolve()
    try:
        return Path(snapshot_download(path, revision=revision))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StudyError(
            f"model {path}: no such folder, and the hub does not give it (revision {revision}): "
            f"{' '.join(str(error).split())[:300]}"
        ) from None


def resolved(path: str, revision: str | None, folder: Path) -> dict[str, str | None]:
    """What `locate` found at `path`: the commit that `revision` of a hub id meant, or where a folder lies."""
    if Path(path).is_dir():
        return {"kind": "folder", "path": path, "resolved": str(folder)}
    # The hub's cache calls a snapshot's folder by its commit.
    return {"kind": "hub model", "path": path, "revision": revision, "commit": folder.name}


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

    Reads the names and shapes of the weights alone.
    """
    load_tokenizer(folder, remote_code)
    _loaded(folder, remote_code, device_map="meta")


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

    On device "auto" its layers are spread over all GPUs. Raises StudyError when the folder has no weights, or others
    than its config.json asks for.
    """
    require_weights(folder)
    require_device(device)
    spread = {"device_map": "auto"} if device == "auto" else {}
    model = _loaded(Path(folder), trusts(folder), dtype=getattr(torch, dtype), **spread)
    return (model if spread else model.to(device)).eval()


def require_device(device: str) -> None:
    """Raise StudyError when `device` ("cpu", "cuda", "cuda:1" or "auto") is a GPU that PyTorch does not have here."""
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


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """Token strings by id; None where the tokenizer leaves an id unused."""
    by_token = tokenizer.get_vocab()
    tokens: list[str | None] = [None] * (max(by_token.values()) + 1)
    for token, token_id in by_token.items():
        tokens[token_id] = token
    return tokens


def shared_vocabulary(base: str | Path, tuned: str | Path) -> list[str | None]:
    """Token strings by id of two model folders that map the same strings to the same ids.

    Output sizes may differ by padding rows beyond this vocabulary. Raises StudyError at the first differing token.
    """
    of_base, of_tuned = (vocabulary(load_tokenizer(folder)) for folder in (base, tuned))
    for token_id in range(max(len(of_base), len(of_tuned))):
        ours, theirs = (known[token_id] if token_id < len(known) else None for known in (of_base, of_tuned))
        if ours != theirs:
            raise StudyError(
                f"{base} and {tuned} cannot be compared: their tokenizers first disagree at id {token_id}, "
                f"{ours!r} against {theirs!r}; a pair needs one tokenizer"
            )
    return of_base
