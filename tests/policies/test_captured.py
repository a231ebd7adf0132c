"""Passes of few shapes, tokens drawn ahead, and attention whose heads share keys and values."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from policies.replayed import as_on_a_gpu
from tiny_models import VOCABULARY, tiny_policy
from tokenshift.distributions.sampling import Sampling, draw_among
from tokenshift.policies import captured, draws
from tokenshift.policies.cached_policy import CachedPolicy
from tokenshift.policies.captured import CAPTURED, ON_CPU, ON_GPU
from tokenshift.policies.decoded import DecodedTokens
from tokenshift.policies.generation import generate
from tokenshift.policies.row_attention import attending_by_rows


@given(st.integers(1, 4096), st.integers(1, 64))
def test_sizes_are_rounded_up_to_few(size, width):
    assert size <= ON_GPU.rows(size) < 1.5 * size
    assert size <= ON_GPU.slots(size) < max(size + 256, 1.25 * size)
    assert width <= ON_GPU.width(size, width)
    if not ON_GPU.captures(size, width):
        assert ON_GPU.width(size, width) == width
    assert (ON_CPU.rows(size), ON_CPU.slots(size), ON_CPU.width(size, width)) == (size, size, width)


def test_there_are_few_sizes():
    assert len({ON_GPU.rows(size) for size in range(1, CAPTURED + 1)}) == 18
    assert len({ON_GPU.slots(size) for size in range(1, 20_001)}) < 25


def test_passes_are_captured_once_for_each_shape_and_again_when_the_cache_has_grown(monkeypatch):
    as_on_a_gpu(monkeypatch)
    policy = tiny_policy(0)
    decoded = DecodedTokens(3, 600)
    cached = CachedPolicy(policy.model, VOCABULARY, decoded)
    captures, capture = [], cached.passes.capture
    cached.passes.capture = lambda function, pool: (captures.append(len(captures)), capture(function, pool))[1]
    decoded.begin({row: [2, 3, 4] for row in range(3)})
    for position in range(2, 260):
        cached.logits(np.arange(3), np.full(3, position))
        decoded.write(np.arange(3), np.full(3, position + 1), np.full(3, 2 + position % 20))
    assert len(captures) == 2  # 256 slots, then 512


def test_more_rows_than_are_captured_go_on_from_their_own_inputs(monkeypatch):
    """Their passes are not rounded; those whose tokens are drawn ahead are captured all the same."""
    monkeypatch.setattr(captured, "CAPTURED", 4)
    noise = np.random.default_rng(0).random((30, 20))
    prompts = [[2 + row % 20, 3] for row in range(30)]
    expected = generate(tiny_policy(0), prompts, noise, Sampling(1.0, 0.9, 20), 9)
    as_on_a_gpu(monkeypatch)
    assert generate(tiny_policy(0), prompts, noise, Sampling(1.0, 0.9, 20), 9) == expected


def test_a_model_that_cannot_be_captured_is_run_as_it_is(monkeypatch):
    as_on_a_gpu(monkeypatch)

    def refuses(function, pool):
        raise RuntimeError("operation not permitted when stream is capturing")

    noise = np.random.default_rng(0).random((4, 20))
    expected = generate(tiny_policy(0), [[2, 3]] * 4, noise, Sampling(1.0, 0.9, 20), 4)
    monkeypatch.setattr("tokenshift.policies.captured.how_captured", lambda model: refuses)
    with pytest.warns(UserWarning, match="forward passes run uncaptured"):
        assert generate(tiny_policy(0), [[2, 3]] * 4, noise, Sampling(1.0, 0.9, 20), 4) == expected


def test_a_draw_that_needs_more_candidates_is_made_again_and_what_followed_it_too(monkeypatch):
    noise, sampling = np.random.default_rng(1).random((6, 40)), Sampling(1.0, 0.9, 40)
    expected = generate(tiny_policy(0), [[2, 3]] * 6, noise, sampling, 6)
    as_on_a_gpu(monkeypatch)
    seen = []

    def looked_at(drawn: draws.DrawnAhead) -> draws.DrawnAhead:
        seen.append((drawn.held < drawn.tokens.shape[1]).any())
        return drawn

    seen_before = draws.Draws.seen
    monkeypatch.setattr(draws, "draw_among", partial(draw_among, candidates=3))
    monkeypatch.setattr(draws.Draws, "seen", lambda self: looked_at(seen_before(self)))
    assert generate(tiny_policy(0), [[2, 3]] * 6, noise, sampling, 6) == expected
    assert any(seen)


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 2), (6, 1), (4, 4)])
def test_grouped_heads_attend_as_with_copied_keys(heads, key_heads):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=24,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=8,
    )
    model = LlamaForCausalLM(config).double().eval()
    tokens = torch.randint(20, (3, 9))
    mask = torch.rand(3, 1, 9, 9) < 0.7
    mask |= torch.eye(9, dtype=torch.bool)
    with torch.inference_mode():
        expected = model(tokens, attention_mask=mask).logits
        with attending_by_rows(model):
            found = model(tokens, attention_mask=mask).logits
    assert torch.allclose(found, expected, atol=1e-12)
    assert model.config._attn_implementation == "sdpa"
