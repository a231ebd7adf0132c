"""Models whose caches hold more, or less, than keys and values of all tokens are refused by name."""

import numpy as np
import pytest
import torch
import transformers

from tiny_models import VOCABULARY, tiny_policy
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.policies.cached_policy import how_decoded
from tokenshift.policies.generation import generate
from tokenshift.policies.kv_cache import require_fixed_rope, windows
from tokenshift.policies.policy import Policy

SIZES = {"vocab_size": VOCABULARY + 2, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def model(architecture: str, **kwargs) -> transformers.PreTrainedModel:
    config = getattr(transformers, f"{architecture}Config")(**{**SIZES, **kwargs})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def llama(**kwargs) -> transformers.PreTrainedModel:
    return model("Llama", intermediate_size=32, **kwargs)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: model("Bloom"), "no position for each token"),
        (lambda: model("Falcon", alibi=True), "no position for each token"),
        (lambda: model("Mamba", state_size=4), "no position for each token"),
        (
            lambda: model("Qwen3Next", intermediate_size=32, num_experts=2, num_experts_per_tok=1, head_dim=8),
            "LinearAttention",
        ),
    ],
)
def test_more_than_keys_and_values_is_refused(make, reason):
    refused = make()
    with pytest.raises(StudyError, match=f"{type(refused).__name__} .*cannot be decoded in rows .*{reason}"):
        windows(refused)


def test_rotations_that_depend_on_the_longest_row_are_refused():
    stretched = llama(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
    require_fixed_rope(stretched, 2048)
    with pytest.raises(StudyError, match="beyond 2048 tokens its rotary embedding depends on the longest row"):
        require_fixed_rope(stretched, 5000)


def test_attention_without_a_mask_per_query_is_refused():
    other = llama()
    other.config._attn_implementation = "flash_attention_2"
    with pytest.raises(StudyError, match="attention 'flash_attention_2' takes no mask per query"):
        windows(other)


def test_windows_are_those_of_the_layers():
    assert windows(llama()) == {"full_attention": None}
    mistral = model("Mistral", intermediate_size=32, num_key_value_heads=1, sliding_window=8)
    assert windows(mistral) == {"sliding_attention": 8}
    gemma = model("Gemma3Text", intermediate_size=32, num_key_value_heads=1, sliding_window=4, num_hidden_layers=6)
    assert windows(gemma) == {"sliding_attention": 4, "full_attention": None}


def test_a_model_whose_cached_logits_differ_is_refused():
    """A decoder that looks ahead has other logits when the tokens to come are not there yet."""
    policy = tiny_policy(0)
    policy.model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: output + output.mean(1, True)
    )
    with pytest.raises(StudyError, match=r"Qwen2ForCausalLM .*is no causal LM: later tokens change earlier logits"):
        how_decoded(policy.model)


def test_a_model_is_checked_once_however_its_weights_change():
    policy = tiny_policy(0)
    first = how_decoded(policy.model)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(100)
    assert how_decoded(policy.model) == first
    policy.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(StudyError, match="its logits are not finite"):
        how_decoded(policy.model)


def test_bytes_of_a_token():
    assert (
        how_decoded(tiny_policy(0).model).bytes_per_token == 2 * 2 * 2 * 8 * 8
    )  # layers, keys and values, heads, size, float64


def test_attention_implementations_agree_while_the_cache_grows():
    policy = tiny_policy(0)
    noise = np.random.default_rng(0).random((5, 100))
    responses = []
    for implementation in ("eager", "sdpa"):
        policy.model.set_attn_implementation(implementation)
        endless = Policy(policy.model, (), policy.vocabulary_size)
        responses.append(generate(endless, [[3, 4, 5]] * 5, noise, Sampling(1.0, 0.9, 100), batch_size=2))
    assert responses[0] == responses[1]
