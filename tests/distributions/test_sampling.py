import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from naive_sampling import in_nucleus, naive_draw, nucleus_probabilities
from tests_of_fit import rejects
from tokenshift.distributions.sampling import Sampling, draw, draw_with_margins, inverse_cdf, probabilities

LOGITS = hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-20, 20), unique=True)


def warped(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The sampling distribution according to transformers' own logits processors."""
    processors = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)])
    return processors(torch.zeros(len(logits), 1, dtype=torch.long), logits.clone()).softmax(-1)


def test_distribution_is_that_of_transformers_processors():
    generator = torch.Generator().manual_seed(0)
    for temperature, top_p in ((1.0, 0.7), (0.6, 0.95), (1.3, 0.5), (1.0, 1.0)):
        logits = 3 * torch.randn(50, 40, dtype=torch.float64, generator=generator)
        ours = nucleus_probabilities(logits, temperature, top_p)
        assert torch.allclose(ours, warped(logits, temperature, top_p), atol=1e-12)


def test_drawn_tokens_follow_transformers_distribution_and_the_test_has_power():
    logits = 2 * torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    draws = 40_000
    uniforms = torch.from_numpy(np.random.default_rng(2).random(draws))
    tokens = draw(logits.expand(draws, -1), uniforms, Sampling(1.0, 0.7, 1))
    counts = np.bincount(tokens.numpy(), minlength=12)
    assert not rejects(counts, draws * warped(logits, 1.0, 0.7)[0].numpy())
    assert rejects(counts, draws * warped(logits, 1.1, 0.7)[0].numpy())
    assert rejects(counts, draws * warped(logits, 1.0, 0.9)[0].numpy())


@given(LOGITS, st.floats(0.05, 0.999))
@settings(deadline=None)
def test_nucleus_is_the_smallest_set_that_reaches_top_p(logits, top_p):
    probs = torch.from_numpy(logits).softmax(-1)
    inside = in_nucleus(probs, top_p)
    kept, dropped = probs[inside], probs[~inside]
    assert kept.sum() >= top_p - 1e-12
    assert kept.sum() - kept.min() < top_p + 1e-12
    assert len(dropped) == 0 or kept.min() >= dropped.max()


@given(LOGITS, st.floats(0.05, 1.0), st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_a_token_outside_the_nucleus_is_never_drawn(logits, top_p, uniform):
    block = torch.from_numpy(logits)[None]
    token = draw(block, torch.tensor([uniform], dtype=torch.float64), Sampling(1.0, top_p, 1))
    assert nucleus_probabilities(block, 1.0, top_p)[0, token] > 0


def test_inverse_cdf_at_the_ends():
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]], dtype=torch.float64)
    ends = torch.tensor([0.0, 0.2499, 0.25, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(probs.expand(4, -1), ends)[0].tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.7), (0.6, 0.95), (1.3, 0.999), (1.0, 1.0)])
def test_draws_are_those_of_a_full_sort(dtype, temperature, top_p):
    """Over a large vocabulary, with peaked, wide and (in bfloat16) tied distributions."""
    generator = torch.Generator().manual_seed(3)
    scale = torch.linspace(0.02, 6, 300)[:, None]
    logits = (scale * torch.randn(300, 3001, generator=generator)).to(dtype)
    noise = torch.rand(300, generator=generator, dtype=torch.float64)
    sampling = Sampling(temperature, top_p, 1)
    assert torch.equal(draw(logits, noise, sampling), naive_draw(logits, noise, sampling))


@given(LOGITS, st.floats(0.05, 1.0), st.floats(0, 1, exclude_max=True), st.integers(1, 5))
@settings(deadline=None)
def test_few_candidates_give_the_same_draw(logits, top_p, uniform, candidates):
    block, noise = torch.from_numpy(logits)[None].round(), torch.tensor([uniform], dtype=torch.float64)
    token, _ = draw_with_margins(probabilities(block, 1.0), noise, top_p, candidates)
    assert token == naive_draw(block, noise, Sampling(1.0, top_p, 1))


@given(LOGITS, st.floats(0.05, 1.0), st.floats(0, 1, exclude_max=True), st.floats(-0.9, 0.9))
@settings(deadline=None)
def test_a_draw_stays_the_same_within_its_margin(logits, top_p, uniform, share):
    probs = probabilities(torch.from_numpy(logits)[None], 1.0)
    token, margin = draw_with_margins(probs, torch.tensor([uniform], dtype=torch.float64), top_p)
    moved = torch.tensor([uniform + share * margin.item()], dtype=torch.float64).clamp(0, 1 - 2**-53)
    assert draw_with_margins(probs, moved, top_p)[0] == token
    if top_p < 1:
        other = min(max(top_p + share * margin.item(), 1e-9), 1.0)
        assert draw_with_margins(probs, torch.tensor([uniform], dtype=torch.float64), other)[0] == token


def test_margins_by_hand():
    probs = torch.tensor([[0.1, 0.5, 0.3, 0.1]], dtype=torch.float64)
    margin = lambda uniform, top_p: draw_with_margins(probs, torch.tensor([uniform], dtype=torch.float64), top_p)[1]  # noqa: E731
    assert margin(0.59, 1.0) == pytest.approx(0.01)  # the second token ends at 0.6
    assert margin(0.6, 0.85) == pytest.approx(0.0)  # the last token inside is as probable as the first outside
    assert margin(0.5, 0.85) == pytest.approx(0.025)  # so it is, but at 0.45, far from 0.1 and 0.6
    assert margin(0.3, 0.795) == pytest.approx(0.005)  # the nucleus of two tokens reaches 0.8
