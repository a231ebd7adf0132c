"""Shapes of models that the benchmarks give random weights, and pairs of such models."""

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

from tokenshift.policies.policy import Policy

SMOLLM2_135M = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)
QWEN2_1_5B = Qwen2Config(
    vocab_size=151936,
    hidden_size=1536,
    intermediate_size=8960,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    max_position_embeddings=32768,
    tie_word_embeddings=True,
)
QWEN2_7B = Qwen2Config(
    vocab_size=152_064,
    hidden_size=3584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    max_position_embeddings=32_768,
    tie_word_embeddings=False,
)
TINY = Qwen2Config(
    vocab_size=512,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    tie_word_embeddings=False,
)


@torch.inference_mode()
def random_pair(config: PretrainedConfig, dtype: torch.dtype, device: str) -> list[Policy]:
    """A random model, its head scaled to predict about as sharply as a trained one, and a perturbed copy."""
    policies = []
    for perturbation in (0.0, 0.05):
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
            model.get_output_embeddings().weight.mul_(12)
            for parameter in model.parameters() if perturbation else ():
                parameter.add_(torch.randn_like(parameter) * parameter.std(unbiased=False), alpha=perturbation)
        policies.append(Policy(model, (), config.vocab_size))
    return policies
