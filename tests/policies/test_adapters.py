"""An adapter beside its base: the merged model's logits, with the base's weights in memory once."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tiny_models import save_tokenizer, tiny_policy
from tokenshift.atomic import atomic_folder
from tokenshift.config.compute import Hardware
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import PairPrompts
from tokenshift.errors import StudyError
from tokenshift.policies.adapters import same_base, with_adapter
from tokenshift.policies.models import load_model, require_loadable
from tokenshift.policies.policy import load_pair

PROMPTS = PairPrompts(base=Prompt(), tuned=Prompt())
TOKENS = torch.tensor([[3, 4, 5, 6, 7]])


def save_base(folder: Path, seed: int = 0) -> None:
    with atomic_folder(folder) as temporary:
        tiny_policy(seed, torch.float32).model.save_pretrained(temporary)
        save_tokenizer(temporary, " 01+=")


def save_tuned(folder: Path, seed: int = 0, rank: int = 4) -> torch.nn.Module:
    """The same base with an adapter; the model that peft itself makes of it."""
    model = tiny_policy(seed, torch.float32).model
    torch.manual_seed(9)
    config = LoraConfig(r=rank, target_modules=["q_proj", "down_proj", "lm_head"], init_lora_weights=False)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        save_tokenizer(temporary, " 01+=")
        tuned = get_peft_model(model, config)
        tuned.save_pretrained(temporary / "adapter")
    return tuned.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    save_base(folder / "base")
    save_tuned(folder / "tuned")
    return folder / "base", folder / "tuned"


@torch.inference_mode()
def test_both_of_a_pair_compute_what_they_would_alone(folders, tmp_path):
    base, tuned = folders
    expected = save_tuned(tmp_path / "again")(TOKENS).logits
    alone = load_model(base, "float32", "cpu")(TOKENS).logits
    policies = load_pair(base, tuned, PROMPTS, Hardware())
    assert torch.equal(policies[0].model(TOKENS).logits, alone)
    torch.testing.assert_close(policies[1].model(TOKENS).logits, expected)
    torch.testing.assert_close(load_model(tuned, "float32", "cpu")(TOKENS).logits, expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(alone, expected)


def test_the_base_is_in_memory_once(folders):
    ours, theirs = (policy.model for policy in load_pair(*folders, PROMPTS, Hardware()))
    shared = {parameter.data_ptr() for parameter in ours.parameters()}
    own = [parameter for parameter in theirs.parameters() if parameter.data_ptr() not in shared]
    assert sum(parameter.numel() for parameter in own) < 0.3 * sum(parameter.numel() for parameter in ours.parameters())
    assert all(parameter.data_ptr() in {p.data_ptr() for p in theirs.parameters()} for parameter in ours.parameters())


def test_another_base_is_not_shared(folders, tmp_path):
    save_base(tmp_path / "other", seed=1)
    assert same_base(*folders)
    assert not same_base(tmp_path / "other", folders[1])
    assert not same_base(*folders[::-1])


def test_a_merged_model_has_no_adapter_left(folders):
    merged = load_model(folders[1], "float32", "cpu")
    plain = load_model(folders[0], "float32", "cpu")
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in plain.named_parameters()]


def test_an_adapter_of_another_base_is_refused(tmp_path):
    save_tuned(tmp_path / "tuned")
    adapter = tmp_path / "tuned/adapter/adapter_model.safetensors"
    other = tiny_policy(0, torch.float32).model
    other.model.layers = other.model.layers[:1]
    with pytest.raises(StudyError, match=r"an adapter of another base: .* weights too many"):
        with_adapter(other, tmp_path / "tuned")
    adapter.write_bytes(adapter.read_bytes()[:100])
    with pytest.raises(StudyError, match="adapter: not an adapter of this base"):
        load_model(tmp_path / "tuned", "float32", "cpu")
    adapter.unlink()
    with pytest.raises(StudyError, match="adapter: not an adapter of this base"):
        require_loadable(tmp_path / "tuned", remote_code=False)
