import json

import pytest

from tiny_models import save_tokenizer, tiny_policy
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_model, load_tokenizer, locate, shared_vocabulary


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


def test_the_first_differing_token_is_named(tmp_path):
    for name, characters in (("base", "0123"), ("same", "0123"), ("other", "01x3"), ("longer", "01234")):
        save_tokenizer(tmp_path / name, characters)
    assert shared_vocabulary(tmp_path / "base", tmp_path / "same") == ["<pad>", "<eos>", "0", "1", "2", "3"]
    with pytest.raises(StudyError, match="disagree at id 4, '2' against 'x'"):
        shared_vocabulary(tmp_path / "base", tmp_path / "other")
    with pytest.raises(StudyError, match="disagree at id 6, None against '4'"):
        shared_vocabulary(tmp_path / "base", tmp_path / "longer")
