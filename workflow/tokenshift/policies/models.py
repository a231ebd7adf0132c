"""Loading models and tokenizers from Hugging Face folders, and refusing pairs that cannot be compared."""

import json
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from tokenshift.errors import StudyError

GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


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


def require_weights(folder: str | Path) -> None:
    """Raise StudyError unless `folder` holds config.json and a file of weights."""
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"no model folder {folder}")
    if not (folder / "config.json").is_file():
        raise StudyError(f"{folder} holds no config.json: not a model in Hugging Face format")
    if not any(True for pattern in WEIGHTS for _ in folder.glob(pattern)):
        raise StudyError(f"{folder} holds no weights (looked for {', '.join(WEIGHTS)}); download or export them first")


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a model folder. Raises StudyError when there is none."""
    # AutoTokenizer replaces a tokenizer declared as the generic class by the one usual for the model's architecture.
    declared = Path(folder) / "tokenizer_config.json"
    generic = declared.is_file() and json.loads(declared.read_text()).get("tokenizer_class") in GENERIC_TOKENIZERS
    try:
        return (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise StudyError(f"{folder}: no usable tokenizer ({' '.join(str(error).split())})") from None


def load_model(folder: str | Path, dtype: str, device: str) -> PreTrainedModel:
    """Causal LM of a model folder, in evaluation mode, in `dtype` (a torch name) on `device`.

    On device "auto" its layers are spread over all GPUs. Raises StudyError when the folder has no weights.
    """
    require_weights(folder)
    disable_progress_bar()
    spread = {"device_map": "auto"} if device == "auto" else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **spread)
    return (model if spread else model.to(device)).eval()


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
