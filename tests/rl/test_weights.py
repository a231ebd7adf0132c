import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.rl.weights import divergence_weights

ALPHAS = st.floats(-50, 50)


@given(st.floats(-2, 2), ALPHAS, st.floats(-1.9, 1.9), st.sampled_from(["old_new", "new_old"]))
def test_the_papers_formula(d, alpha, strength, direction):
    k3 = math.exp(d) - d - 1 if direction == "old_new" else math.exp(-d) + d - 1
    expected = 1 + strength * (1 / (1 + math.exp(-alpha * k3)) - 0.5)
    weight = divergence_weights(torch.tensor([d], dtype=torch.float64), alpha, strength, direction).item()
    assert weight == pytest.approx(expected, rel=1e-9)
    assert weight > 0


@given(ALPHAS, st.floats(-1.9, 1.9), st.sampled_from(["old_new", "new_old"]))
def test_an_unchanged_policy_has_weight_one(alpha, strength, direction):
    assert divergence_weights(torch.zeros(3), alpha, strength, direction).tolist() == [1.0, 1.0, 1.0]


def test_weights_carry_no_gradient():
    ratio = torch.tensor([0.3, -0.4], requires_grad=True)
    assert not divergence_weights(ratio, 20.0, 1.0, "old_new").requires_grad
