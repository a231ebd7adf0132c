"""Tiny random causal LMs, made in memory in a fraction of a second."""

import inspect
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tokenshift.policies.policy import Policy

VOCABULARY = 23
STOP = 1


def tiny_policy(seed: int, dtype: torch.dtype = torch.float64, sharpness: float = 30.0) -> Policy:
    """A two-layer Qwen2 with random weights, scaled so that its next-token distributions are far from uniform."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY + 2,  # two padding rows
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    model = Qwen2ForCausalLM(config).to(dtype).eval()
    model.lm_head.weight.data.mul_(sharpness)
    return Policy(model, (STOP,), VOCABULARY)


def mixed(policy: Policy, other: Policy, share: float) -> Policy:
    """A policy near `policy`: its weights moved by `share` towards those of `other`."""
    model = Qwen2ForCausalLM(policy.model.config).to(policy.model.dtype).eval()
    weights = {
        name: (1 - share) * value + share * other.model.state_dict()[name]
        for name, value in policy.model.state_dict().items()
    }
    model.load_state_dict(weights)
    return Policy(model, policy.stop_token_ids, policy.vocabulary_size)


def save_tokenizer(folder: Path, characters: str, end: str = "<eos>") -> None:
    """Save a tokenizer with one token for each of `characters`, after <pad> and `end`, into a model folder."""
    tokens = ["<pad>", end, *characters]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token=end).save_pretrained(folder)


def tiny_model(architecture: str, seed: int) -> PreTrainedModel:
    """A one-layer model of any architecture with random weights; Gemma's logits are soft-capped."""
    sizes = {"vocab_size": VOCABULARY + 2, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "num_key_value_heads": 1, "head_dim": 8, "logit_scale": 0.3, "logits_scaling": 5.0}
    extra = {"GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2}, "OPT": {"ffn_dim": 32, "word_embed_proj_dim": 8}}
    name = {"Gemma3": "Gemma3Text"}.get(architecture, architecture)
    config_class = getattr(transformers, f"{name}Config")
    given = extra.get(architecture, more)
    known = set(inspect.signature(config_class).parameters)
    config = config_class(**{key: value for key, value in {**sizes, **given}.items() if key in known or key in sizes})
    if architecture.startswith("Gemma"):
        config.final_logit_softcapping = 2.0
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model
