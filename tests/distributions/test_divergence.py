import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from tokenshift.distributions.divergence import js, kl
from tokenshift.distributions.log_probabilities import entropy, log_probabilities

VOCABULARY = 17
LOGITS = hnp.arrays(np.float64, VOCABULARY, elements=st.floats(-30, 30))


def logp(logits: np.ndarray) -> torch.Tensor:
    return log_probabilities(torch.from_numpy(np.asarray(logits)))


def random_logits(rows: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(rows, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_against_scipy():
    p, q = (log_probabilities(random_logits(200, seed)) for seed in (0, 1))
    for row in range(200):
        a, b = p[row].exp().numpy(), q[row].exp().numpy()
        assert math.isclose(js(p, q)[row], jensenshannon(a, b) ** 2, rel_tol=1e-9, abs_tol=1e-12)
        assert math.isclose(kl(p, q)[row], scipy_entropy(a, b), rel_tol=1e-9)
        assert math.isclose(entropy(p)[row], scipy_entropy(a), rel_tol=1e-9)


@given(LOGITS, LOGITS)
@settings(deadline=None)
def test_js_is_symmetric_bounded_and_at_most_the_mean_kl(a, b):
    p, q = logp(a), logp(b)
    assert 0 <= js(p, q) <= math.log(2)
    assert math.isclose(js(p, q), js(q, p), abs_tol=1e-12)
    assert js(p, q) <= (kl(p, q) + kl(q, p)) / 4 + 1e-9  # JS <= Jeffreys divergence / 4


@given(LOGITS, st.floats(-50, 50))
@settings(deadline=None)
def test_js_of_equal_distributions_is_zero(a, shift):
    assert js(logp(a), logp(a + shift)) < 1e-12


@given(LOGITS, LOGITS, st.permutations(range(VOCABULARY)))
@settings(deadline=None)
def test_js_does_not_depend_on_the_order_of_the_vocabulary(a, b, order):
    assert math.isclose(js(logp(a), logp(b)), js(logp(a[order]), logp(b[order])), abs_tol=1e-12)


def test_disjoint_supports_reach_ln_2_and_infinite_kl():
    p = torch.tensor([0.0, -torch.inf], dtype=torch.float64)
    assert math.isclose(js(p, p.flip(0)), math.log(2))
    assert kl(p, p.flip(0)) == torch.inf
    assert entropy(p) == 0


def test_entropies_at_a_temperature_are_scipys():
    logits = torch.randn(15, 11, generator=torch.Generator().manual_seed(0)) * 4
    expected = scipy_entropy((logits.double() / 1.5).softmax(-1).numpy(), axis=-1)
    measured = entropy(log_probabilities(logits, 1.5)).double()
    torch.testing.assert_close(measured, torch.tensor(expected), rtol=1e-4, atol=1e-5)
