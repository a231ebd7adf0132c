"""Tiny models of every kind of architecture, and whether each stage computes with them what it should.

PYTHONPATH=workflow:tests python tests/policies/architectures.py    # writes the table of docs/models.md
"""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from cross_sampling.two_policies import ALL_CRITERIA, Reference, resources
from naive_sampling import naive_draw
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.cached_policy import how_decoded
from tokenshift.policies.forward import Batch, Sequences, SplitModel, response_hidden_states
from tokenshift.policies.generation import generate
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import ALL, NONE

DOCUMENT = Path(__file__).parents[2] / "docs/models.md"
VOCABULARY, STOP, WINDOW = 32, 2, 8
SAMPLING = Sampling(1.0, 0.9, 2 * WINDOW)  # responses are longer than the windows
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": STOP,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
LINEAR = {f"linear_num_{part}_heads": 2 for part in ("value", "key")}
LINEAR |= {f"linear_{part}_head_dim": 16 for part in ("value", "key")}
WINDOWED = {"sliding_window": WINDOW}
PER_LAYER = WINDOWED | {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY}
ALTERNATING = ["sliding_attention", "full_attention"] * 2
# By architecture: what its family is, and what its configuration needs beside SIZES.
ARCHITECTURES: dict[str, tuple[str, dict]] = {
    **dict.fromkeys(("Qwen2", "Qwen3", "Llama", "Olmo2", "Phi", "Phi3", "GPTNeoX", "Cohere"), ("dense", {})),
    **dict.fromkeys(("Granite", "Glm4", "Falcon", "Ernie4_5", "SeedOss", "HunYuanDenseV1"), ("dense", {})),
    **dict.fromkeys(("SmolLM3", "Starcoder2", "StableLm"), ("dense", {})),
    "GPT2": ("dense", {"n_embd": 64, "n_layer": 4, "n_head": 4}),
    "OPT": ("dense", {"ffn_dim": 64, "word_embed_proj_dim": 64}),
    "Bloom": ("dense, ALiBi", {"n_layer": 4, "n_head": 4}),
    **dict.fromkeys(("Mistral", "Gemma2", "Gemma3Text", "Olmo3", "Cohere2"), ("windows", WINDOWED)),
    "Gemma3nText": ("windows", PER_LAYER | {"num_kv_shared_layers": 2, "laurel_rank": 4, "altup_num_inputs": 2}),
    "Gemma4Text": (
        "windows",
        PER_LAYER | {"global_head_dim": 16, "layer_types": ALTERNATING, "num_kv_shared_layers": 2},
    ),
    "Qwen3Moe": ("experts", EXPERTS | {"num_experts": 4, "decoder_sparse_step": 1}),
    "Mixtral": ("experts", {"num_local_experts": 4}),
    "Olmoe": ("experts", {"num_experts": 4, "num_experts_per_tok": 2}),
    "DeepseekV3": (
        "experts, latent attention",
        EXPERTS
        | {"n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
        | {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16}
        | {"num_key_value_heads": 4},
    ),
    "GptOss": ("experts, windows, sinks", WINDOWED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "Llama4Text": (
        "experts, chunks",
        {"num_local_experts": 2, "intermediate_size_mlp": 64, "attention_chunk_size": WINDOW},
    ),
    "Lfm2": ("hybrid", {"block_multiple_of": 16, "full_attn_idxs": [1, 3]}),
    "Qwen3_5Text": ("hybrid", LINEAR),
    "FalconH1": (
        "hybrid",
        {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1},
    ),
    "Qwen3Next": ("hybrid, experts", EXPERTS | LINEAR | {"num_experts": 4, "shared_expert_intermediate_size": 32}),
    "NemotronH": (
        "hybrid, experts",
        EXPERTS
        | {"hybrid_override_pattern": "M*-M", "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16}
        | {"n_groups": 1, "chunk_size": 16, "n_routed_experts": 4, "moe_shared_expert_intermediate_size": 32},
    ),
    "MiniMax": ("hybrid, experts", {"num_local_experts": 2, "num_experts_per_tok": 1, "block_size": 16}),
    "Mamba": ("recurrent", {"state_size": 8}),
    "Mamba2": ("recurrent", {"num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1, "chunk_size": 16}),
}


def made(name: str, seed: int) -> PreTrainedModel:
    """A model with random weights, in float64."""
    config_class = getattr(transformers, f"{name}Config")
    known = set(inspect.signature(config_class).parameters)
    given = {key: value for key, value in SIZES.items() if key in known} | ARCHITECTURES[name][1]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config_class(**given)).double().eval()
    if any("expert" in module for module, _ in model.named_modules()):
        model.set_experts_implementation("eager")  # the others have no float64
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.data.normal_(std=0.3)
    return model


def pair(name: str) -> tuple[Policy, Policy]:
    """Two policies that differ a little."""
    base, tuned = made(name, 0), made(name, 1)
    with torch.no_grad():
        for ours, theirs in zip(base.parameters(), tuned.parameters(), strict=True):
            theirs.copy_(ours + 0.3 * (theirs - ours))
    return tuple(Policy(model, (STOP,), VOCABULARY) for model in (base, tuned))


@dataclass(frozen=True)
class Outcome:
    """How a model is decoded, the error of its scored logits in standard deviations, and what equals its reference."""

    decoded: str
    error: float
    rollouts: bool
    cross_samples: bool


@torch.inference_mode()
def error_of_scoring(model: PreTrainedModel) -> float:
    """Largest difference between the logits that scoring makes in chunks and those of one forward pass."""
    tokens = torch.from_numpy(np.random.default_rng(1).integers(3, VOCABULARY, (2, 4 + 3 * WINDOW)))
    tokens[1, :4] = tokens[0, :4]
    expected = torch.cat([model(row[None], use_cache=False).logits[0, 3:-1] for row in tokens])
    split, errors = SplitModel(model), []
    given = Sequences([row[:4].tolist() for row in tokens], [row[4:].tolist() for row in tokens])
    for shared in (False, True):
        hidden = response_hidden_states(split, given, Batch([0, 1], shared))
        found = torch.cat([split.logits(hidden[:7]), split.logits(hidden[7:])])
        errors.append(float((found - expected).abs().max() / expected.std()))
    return max(errors)


@torch.inference_mode()
def from_scratch(policy: Policy, prompt: list[int], uniforms: np.ndarray) -> list[int]:
    """A response for which the whole sequence is computed for every token."""
    response: list[int] = []
    for uniform in uniforms:
        logits = policy.model(torch.tensor([[*prompt, *response]]), use_cache=False).logits[0, -1:]
        response.append(int(naive_draw(logits, torch.tensor([uniform]), SAMPLING)))
        if response[-1] == STOP:
            break
    return response


def outcome(name: str) -> Outcome:
    """What each stage makes of an architecture: scores, rollouts, cross-samples at none, two thresholds and all."""
    base, tuned = pair(name)
    random = np.random.default_rng(0)
    prompts = [random.integers(3, VOCABULARY, length).tolist() for length in (3, 5, 1)]
    uniforms, coins = random.random((2, len(prompts), SAMPLING.max_new_tokens))
    asked = {"prompts": prompts, "uniforms": uniforms, "coins": coins}
    responses = generate(base, prompts, uniforms, SAMPLING, batch_size=2)
    expected = [from_scratch(base, prompt, row) for prompt, row in zip(prompts, uniforms, strict=True)]
    reference, criterion = Reference(base, tuned, SAMPLING), ALL_CRITERIA["js"]
    scores = np.concatenate([sample.scores for sample in reference(criterion, NONE, **asked)])
    thresholds = [NONE, *(np.quantile(scores, [0.9, 0.6]) + 1e-4), ALL]
    task = SweepTask(**asked, criterion=criterion, thresholds=thresholds, sampling=SAMPLING)
    decoded, _ = cross_sample(base, tuned, task, resources(2, 4))
    equal = [
        (ours.response, ours.switched, ours.replaced) == (theirs.response, theirs.switched, theirs.replaced)
        for level, threshold in zip(decoded, thresholds, strict=True)
        for ours, theirs in zip(level, reference(criterion, threshold, **asked), strict=True)
    ]
    return Outcome(
        how_decoded(base.model).kind.__name__, error_of_scoring(base.model), responses == expected, all(equal)
    )


WAYS = {
    "CachedPolicy": "side by side",
    "OwnCachePolicy": "one after another",
    "UncachedPolicy": "one after another, without a cache",
}


def documented() -> dict[str, str]:
    """How each architecture is decoded, as docs/models.md says."""
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| [^|]+ \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return {name: way for name, way in rows if name in ARCHITECTURES}


def main() -> None:
    lines = [
        "| Architecture | Kind | Error of scores | Rows are decoded | Rollouts | Cross-samples |",
        "| --- " * 6 + "|",
    ]
    for name in sorted(ARCHITECTURES, key=lambda name: (ARCHITECTURES[name][0], name)):
        found = outcome(name)
        exact = ["exact" if right else "DIFFERENT" for right in (found.rollouts, found.cross_samples)]
        error = f"{found.error:.0e}"
        lines.append(" | ".join([f"| {name}", ARCHITECTURES[name][0], error, WAYS[found.decoded], *exact]) + " |")
        print(lines[-1], flush=True)
    before, mark, _ = DOCUMENT.read_text().partition("<!-- made by tests/policies/architectures.py -->\n")
    DOCUMENT.write_text(before + mark + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
