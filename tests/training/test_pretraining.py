import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.config.models import Architecture
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_tokenizer
from tokenshift.problems.prompts import unknown_characters_refused
from tokenshift.training.pretraining import build_model, character_tokenizer

CHARACTERS = string.digits + "+-=:\\{}boxed \n" + "é"


@given(st.text(alphabet=CHARACTERS))
def test_decoding_returns_the_text(text):
    tokenizer = character_tokenizer([CHARACTERS])
    token_ids = tokenizer(text).input_ids
    assert len(token_ids) == len(text)
    assert tokenizer.decode([*token_ids, tokenizer.eos_token_id], skip_special_tokens=True) == text


def test_vocabulary_is_the_sorted_characters():
    tokenizer = character_tokenizer(["ba", "c"])
    assert tokenizer.get_vocab() == {"<pad>": 0, "<eos>": 1, "a": 2, "b": 3, "c": 4}


def test_an_unknown_character_is_refused():
    tokenizer = character_tokenizer(["123"])
    with pytest.raises(StudyError, match="does not know"), unknown_characters_refused(tokenizer):
        tokenizer("1?")


def test_an_empty_corpus_is_refused():
    with pytest.raises(StudyError, match="no text"):
        character_tokenizer([""])


def test_the_saved_tokenizer_encodes_alike(tmp_path):
    tokenizer = character_tokenizer([CHARACTERS])
    tokenizer.save_pretrained(tmp_path)
    build_model(Architecture(), len(tokenizer), 0, 1, seed=0).save_pretrained(tmp_path)
    text = "3 + 4  - 1=\\boxed{6}"
    loaded = load_tokenizer(tmp_path)
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.decode(loaded(text).input_ids) == text


def test_a_seed_gives_one_model():
    first, again, other = (build_model(Architecture(), 25, 0, 1, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert first.lm_head.weight is first.model.embed_tokens.weight
    assert sum(parameter.numel() for parameter in first.parameters()) == 335_424
