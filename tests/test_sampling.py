import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from tokenshift.sampling import Sampling, draw, in_nucleus, inverse_cdf, nucleus_probabilities

LOGITS = hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-20, 20), unique=True)


def warped(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The sampling distribution according to transformers' own logits processors."""
    processors = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)])
    return processors(torch.zeros(len(logits), 1, dtype=torch.long), logits.clone()).softmax(-1)


def rejects(counts: np.ndarray, expected: np.ndarray) -> bool:
    """Chi-square test at the 0.1 % level, tokens that are expected fewer than five times merged."""
    if counts[expected == 0].any():
        return True
    order = np.argsort(expected)
    rare = order[np.cumsum(expected[order]) < 5]
    common = np.setdiff1d(order, rare)
    observed = np.append(counts[common], counts[rare].sum())
    predicted = np.append(expected[common], expected[rare].sum())
    keep = predicted > 0
    return stats.chisquare(observed[keep], predicted[keep] * observed[keep].sum() / predicted[keep].sum()).pvalue < 1e-3


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
    assert inverse_cdf(probs.expand(4, -1), ends).tolist() == [1, 1, 3, 3]
