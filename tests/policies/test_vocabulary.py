"""Pairs whose tokenizers differ in special tokens, and what ends a response."""

from pathlib import Path

import pytest
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerFast

from tiny_models import save_tokenizer, tiny_policy
from tokenshift.artifacts import write_parquet
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_tokenizer
from tokenshift.policies.vocabulary import pair_vocabulary, require_shared_stops, shared_ids, stop_ids
from tokenshift.schemas import VOCABULARY


def tokenizer_folder(folder: Path, characters: str = "0123", **special: str | list[str]) -> Path:
    """A folder with a tokenizer of <pad>, an end (<eos>), the characters, and added special tokens."""
    save_tokenizer(folder, characters, special.get("end", "<eos>"))
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": special.get("added", [])})
    tokenizer.save_pretrained(folder)
    return folder


def compared(tmp_path: Path, base: dict, tuned: dict, special_tokens: dict | None = None):
    folders = (tokenizer_folder(tmp_path / name, **given) for name, given in (("base", base), ("tuned", tuned)))
    return pair_vocabulary(*folders, special_tokens or {}, "mine")


def test_one_tokenizer_is_shared_whole(tmp_path):
    table = compared(tmp_path, {}, {})
    assert table["token_base"].to_pylist() == table["token_tuned"].to_pylist() == ["<pad>", "<eos>", *"0123"]
    assert all(table["shared"].to_pylist())


def test_special_tokens_may_be_added_and_renamed(tmp_path):
    table = compared(tmp_path, {"added": ["<a>"]}, {"end": "<end>", "added": ["<b>", "<c>"]})
    write_parquet(tmp_path / "vocabulary.parquet", table, VOCABULARY, {}, ())
    assert shared_ids(tmp_path / "vocabulary.parquet").tolist() == [0, 2, 3, 4, 5]
    assert table["token_base"].to_pylist()[-2:] == ["<a>", None]
    assert table["token_tuned"].to_pylist()[-2:] == ["<b>", "<c>"]


def test_an_unused_id_beyond_one_of_the_tokenizers_is_not_shared(tmp_path, monkeypatch):
    lists = iter([["<pad>", None, "0"], ["<pad>", None, "0", None, "<b>"]])
    monkeypatch.setattr("tokenshift.policies.vocabulary.vocabulary", lambda _: next(lists))
    for name in ("base", "tuned"):
        tokenizer_folder(tmp_path / name)
    monkeypatch.setattr(PreTrainedTokenizerFast, "get_added_vocab", lambda _: {"<b>": 4})
    table = pair_vocabulary(tmp_path / "base", tmp_path / "tuned", {}, "mine")
    assert table["shared"].to_pylist() == [True, True, True, False, False]


def test_a_renamed_token_is_shared_where_the_study_says_so(tmp_path):
    given = {}, {"end": "<end>"}
    assert compared(tmp_path, *given, {"<eos>": "<end>"})["shared"].to_pylist() == [True] * 6
    with pytest.raises(StudyError, match=r"pairs.mine.special_tokens: the base model has no special token '0'; it has"):
        compared(tmp_path, *given, {"0": "<end>"})
    with pytest.raises(StudyError, match="the tuned model has no special token '<eos>'"):
        compared(tmp_path, *given, {"<eos>": "<eos>"})
    with pytest.raises(StudyError, match="'<pad>' has id 0 and '<end>' id 1: only tokens of one id"):
        compared(tmp_path, *given, {"<pad>": "<end>"})


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({"characters": "01x3"}, "ordinary tokens first differ at id 4, '2' against 'x'"),
        ({"characters": "01234"}, "ordinary tokens first differ at id 6, None against '4'"),
        ({"characters": "012"}, "ordinary tokens first differ at id 5, '3' against None"),
        ({"characters": "012", "added": ["<a>"]}, "ordinary tokens first differ at id 5, '3' against '<a>'"),
    ],
)
def test_the_first_differing_ordinary_token_is_named(tmp_path, tuned, message):
    with pytest.raises(StudyError, match=message):
        compared(tmp_path, {}, tuned)


def test_what_ends_a_response(tmp_path):
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path))
    assert stop_ids(tokenizer, GenerationConfig(), None) == (1,)
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=[5, 3]), None) == (1, 3, 5)
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=[5, 3]), ["2", "<pad>"]) == (0, 4)
    with pytest.raises(StudyError, match=r"prompt.stops: '<end>' is no token of the tokenizer"):
        stop_ids(tokenizer, GenerationConfig(), ["<end>"])


def test_a_stop_that_only_one_has_is_refused_with_the_remedy(tmp_path):
    table = compared(tmp_path, {}, {"end": "<end>"})
    folders = {"base": tmp_path / "base", "tuned": tmp_path / "tuned"}
    for folder in folders.values():
        tiny_policy(0).model.save_pretrained(folder)
        assert AutoConfig.from_pretrained(folder).eos_token_id == 1
    message = r"base model ends its responses with '<eos>' \(id 1\).*special_tokens to \{'<eos>': '<end>'\}; set the"
    with pytest.raises(StudyError, match=message):
        require_shared_stops(table, "mine", folders, {"base": None, "tuned": None})
    require_shared_stops(table, "mine", folders, {"base": ["3"], "tuned": ["3"]})
    GenerationConfig(eos_token_id=99).save_pretrained(folders["base"])  # no token: such a stop is never drawn
    with pytest.raises(StudyError, match=message):
        require_shared_stops(table, "mine", folders, {"base": None, "tuned": ["3"]})
    mapped = pair_vocabulary(*folders.values(), {"<eos>": "<end>"}, "mine")
    require_shared_stops(mapped, "mine", folders, {"base": None, "tuned": None})
