import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_models import save_tokenizer, tiny_policy
from tokenshift.errors import StudyError
from tokenshift.policies.models import (
    REMOTE_CODE,
    load_model,
    load_tokenizer,
    require_loadable,
    require_weights,
)
from tokenshift.policies.sources import locate


def test_a_saved_model_loads_with_its_logits(tmp_path):
    policy = tiny_policy(0)
    policy.model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path, "float64", "cpu")
    assert all((a == b).all() for a, b in zip(policy.model.parameters(), loaded.parameters(), strict=True))


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"no config\.json"):
        load_model(tmp_path, "float32", "cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    with pytest.raises(StudyError, match="holds no weights"):
        load_model(tmp_path, "float32", "cpu")


def saved(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], tied: bool = False
) -> Path:
    """A model folder whose weights were changed after saving."""
    model = tiny_policy(0).model
    model.config.tie_word_embeddings = tied
    if tied:
        model.tie_weights()
    model.save_pretrained(folder)
    save_tokenizer(folder, "01 ")
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


LAYER = "model.layers.1."
CHANGES = {
    "a layer missing": (lambda w: {k: v for k, v in w.items() if LAYER not in k}, f"missing {LAYER}.*and 9 more"),
    "the head missing": (lambda w: {k: v for k, v in w.items() if k != "lm_head.weight"}, "missing lm_head.weight"),
    "one more": (lambda w: w | {"model.layers.7.norm.weight": torch.ones(2)}, r"unexpected model\.layers\.7"),
    "another shape": (lambda w: w | {"model.norm.weight": torch.ones(3)}, r"mismatched model\.norm\.weight"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    folder = saved(tmp_path, change)
    for load in (lambda: load_model(folder, "float32", "cpu"), lambda: require_loadable(folder, False)):
        with pytest.raises(StudyError, match=f"weights do not fit its config.json: {message}") as told:
            load()
        assert "\n" not in str(told.value)


def test_tied_weights_are_not_missing(tmp_path):
    folder = saved(
        tmp_path, lambda weights: {name: w for name, w in weights.items() if name != "lm_head.weight"}, tied=True
    )
    require_loadable(folder, False)
    model = load_model(folder, "float32", "cpu")
    assert model.lm_head.weight is model.model.embed_tokens.weight


BROKEN = {
    "config.json": [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"model_type": "no-such"}',
        '{"model_type": "qwen2", "num_hidden_layers": -1}',
    ],
    "model.safetensors": ["", "x" * 100, "\xff" * 100],
    "tokenizer_config.json": ["{", "[]", "[" * 100_000],
    "tokenizer.json": ["", "{}", "[" * 100_000, '{"model": {"type": "WordLevel", "vocab": []}}'],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_broken_files_of_a_model_are_told_in_one_line(tmp_path, name, text):
    folder = saved(tmp_path, lambda weights: weights)
    (folder / name).write_text(text, encoding="latin-1")
    with pytest.raises(StudyError, match="no usable") as told:
        require_loadable(folder, False)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600


def test_weights_cut_short_are_refused(tmp_path):
    folder = saved(tmp_path, lambda weights: weights)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(StudyError, match="no usable model"):
        require_loadable(folder, False)


def test_pickled_weights_are_refused_with_the_command_that_converts_them(tmp_path):
    folder = saved(tmp_path / "model", lambda weights: weights)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    require_weights(folder, pickled=False)
    (folder / "model.safetensors").unlink()
    require_weights(folder, pickled=True)
    with pytest.raises(StudyError, match=r"`python -c .*save_pretrained.*say `pickled: true`") as told:
        require_weights(folder, pickled=False)
    command = shlex.split(str(told.value).split("`")[1])
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
    require_weights(folder, pickled=False)


class Intruder:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_pickled_weights_run_no_code(tmp_path):
    folder = saved(tmp_path / "model", lambda weights: weights)
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Intruder(tmp_path / "executed")}, folder / "pytorch_model.bin")
    with pytest.raises(StudyError, match="no usable model"):
        load_model(folder, "float32", "cpu")
    assert not (tmp_path / "executed").exists()


def with_its_own_code(folder: Path, mark: Path) -> Path:
    """A model folder of an architecture that comes as code, which leaves the file `mark` when it runs."""
    saved(folder, lambda weights: weights)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": names}))
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w')\n"
        "from transformers import Qwen2Config, Qwen2ForCausalLM\n"
        "class OwnConfig(Qwen2Config):\n    model_type = 'own'\n"
        "class OwnModel(Qwen2ForCausalLM):\n    config_class = OwnConfig\n"
    )
    return folder


def test_code_of_a_model_runs_only_where_the_study_names_it(tmp_path, monkeypatch):
    folder = with_its_own_code(tmp_path / "results/study/models/own", tmp_path / "executed")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    for name in ("", "other", "ow"):
        monkeypatch.setenv(REMOTE_CODE, name)
        with pytest.raises(StudyError, match="no usable"):
            load_model(folder, "float32", "cpu")
    assert not (tmp_path / "executed").exists()
    monkeypatch.setenv(REMOTE_CODE, "other own")
    assert type(load_model(folder, "float32", "cpu")).__name__ == "OwnModel"
    assert (tmp_path / "executed").exists()


def test_a_missing_model_names_itself(tmp_path):
    with pytest.raises(StudyError, match=r"model .*nowhere.*: no such folder"):
        locate(str(tmp_path / "nowhere"), None)


def test_a_tokenizer_of_its_own_is_kept_beside_a_known_architecture(tmp_path):
    tiny_policy(0).model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, "01 ")
    assert load_tokenizer(tmp_path)("0 1").input_ids == [2, 4, 3]


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(StudyError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)
