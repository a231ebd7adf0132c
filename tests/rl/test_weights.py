import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.config.weights import Weight
from tokenshift.rl.weights import WEIGHTS, Tokens, advantage_weights, entropy_ranks

ALPHAS = st.floats(-50, 50)
DIRECTIONS = st.sampled_from(["old_new", "new_old"])


def test_a_study_names_the_weights_that_there_are():
    assert set(Weight.model_fields) == set(WEIGHTS)


def weights(kind: str, log_ratio: list[float], old_logp: list[float] | None = None, **settings) -> torch.Tensor:
    ratio = torch.tensor(log_ratio, dtype=torch.float64)
    logp = torch.zeros_like(ratio) if old_logp is None else torch.tensor(old_logp, dtype=torch.float64)
    ranks = torch.linspace(0, 1, len(ratio), dtype=torch.float64)
    return advantage_weights(Tokens(ratio, logp, ranks), Weight.model_validate({kind: settings}))


@given(st.floats(-2, 2), ALPHAS, st.floats(-1.9, 1.9), DIRECTIONS)
def test_the_papers_formula(d, alpha, strength, direction):
    k3 = math.exp(d) - d - 1 if direction == "old_new" else math.exp(-d) + d - 1
    expected = 1 + strength * (1 / (1 + math.exp(-alpha * k3)) - 0.5)
    weight = weights("divergence", [d], alpha=alpha, strength=strength, direction=direction).item()
    assert weight == pytest.approx(expected, rel=1e-9)
    assert weight > 0


@given(ALPHAS, st.floats(-1.9, 1.9), DIRECTIONS)
def test_an_unchanged_policy_has_weight_one(alpha, strength, direction):
    same = weights("divergence", [0.0] * 3, alpha=alpha, strength=strength, direction=direction)
    assert same.tolist() == [1.0, 1.0, 1.0]


def test_the_directions_agree_to_second_order_only():
    near, far = (
        [weights("divergence", [d], alpha=1.0, strength=1.0, direction=way).item() for way in ("old_new", "new_old")]
        for d in (1e-3, 1.0)
    )
    assert near[0] == pytest.approx(near[1], abs=1e-9)
    assert abs(far[0] - far[1]) > 0.05


def test_the_sibling_weight_falls_from_one_plus_c_to_one():
    logp = [math.log(p) for p in (1e-300, 0.25, 1.0)]
    assert weights("sibling", [3.0, 0.0, -1.0], logp, c=0.2).tolist() == pytest.approx([1.2, 1.15, 1.0])


def test_top_entropy_keeps_a_share():
    assert weights("top_entropy", [0.0] * 6, share=0.2).tolist() == [0, 0, 0, 0, 1, 1]
    assert weights("top_entropy", [0.0] * 6, share=1.0).tolist() == [1] * 6


def test_without_a_weight_there_is_none():
    assert advantage_weights(Tokens(*[torch.zeros(1, 1)] * 3), None) is None


@given(st.lists(st.floats(0, 5, width=32), min_size=1, max_size=30), st.floats(0.01, 1))
def test_ranks_select_what_a_quantile_selects(values, share):
    entropies = torch.tensor(values, dtype=torch.float64)
    selected = entropy_ranks(entropies, entropies) >= 1 - share
    quantile = torch.quantile(entropies, 1 - share)
    clear = (entropies - quantile).abs() > 1e-9
    assert torch.equal(selected[clear], (entropies >= quantile)[clear])
    assert selected.any()
