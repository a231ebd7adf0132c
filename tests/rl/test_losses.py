import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from tokenshift.rl.losses import (
    clipped_above,
    clipped_below,
    clipped_loss,
    kl_estimate,
    log_ratio,
    token_weights,
)


@given(st.floats(-3, 3), st.floats(-2, 2), st.sampled_from([None, 3.0, 10.0]))
def test_clipped_loss_of_one_token(d, advantage, dual_clip):
    ratio = math.exp(d)
    expected = max(-advantage * ratio, -advantage * min(max(ratio, 0.8), 1.28))
    if dual_clip is not None and advantage < 0:
        expected = min(expected, -dual_clip * advantage)
    one = torch.tensor([[d]], dtype=torch.float64), torch.tensor([[advantage]], dtype=torch.float64)
    assert clipped_loss(*one, 0.2, 0.28, dual_clip).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "below", "above"),
    [
        (0.5, -1, True, False),
        (0.5, 1, False, False),
        (1.5, 1, False, True),
        (1.5, -1, False, False),
        (1, 1, False, False),
    ],
)
def test_where_the_clip_acts_the_gradient_is_zero(ratio, advantage, below, above):
    d = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[float(advantage)]], dtype=torch.float64)
    clipped_loss(d, advantages, 0.2, 0.28, None).sum().backward()
    assert (d.grad.item() == 0) == (below or above)
    assert clipped_below(d, advantages, 0.2).item() == below
    assert clipped_above(d, advantages, 0.28).item() == above


def test_dual_clip_stops_the_gradient_of_huge_ratios():
    d = torch.tensor([[math.log(20.0)]], dtype=torch.float64, requires_grad=True)
    clipped_loss(d, -torch.ones(1, 1, dtype=torch.float64), 0.2, 0.28, 10.0).sum().backward()
    assert d.grad.item() == 0


def test_a_vanished_probability_keeps_the_loss_finite():
    ratio = log_ratio(torch.tensor([[0.0]]), torch.tensor([[-1e9]]))
    assert torch.isfinite(clipped_loss(ratio, torch.ones(1, 1) * -1, 0.2, 0.2, None)).all()


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_kl_estimators_are_unbiased(estimator):
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    q = torch.tensor([0.2, 0.4, 0.3, 0.1], dtype=torch.float64)
    mean = (p * kl_estimate((q / p).log(), estimator)).sum().item()
    assert mean == pytest.approx(rel_entr(p.numpy(), q.numpy()).sum(), rel=1e-12)


def test_k2_agrees_with_k3_to_second_order():
    d = torch.tensor([1e-4, -1e-4], dtype=torch.float64)
    torch.testing.assert_close(kl_estimate(d, "k2"), kl_estimate(d, "k3"), rtol=1e-4, atol=0)
    assert (kl_estimate(torch.linspace(-5, 5, 101), "k3") >= 0).all()


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "fixed_length"])
def test_aggregation_is_over_the_whole_batch_however_it_is_cut(aggregation):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([1, 4, 2, 7, 3])
    mask = torch.arange(7)[None] < lengths[:, None]
    loss = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    rows = [loss[i, : lengths[i]] for i in range(5)]
    expected = {
        "token_mean": torch.cat(rows).mean(),
        "sequence_mean": torch.stack([row.mean() for row in rows]).mean(),
        "fixed_length": torch.cat(rows).sum() / (5 * 9),
    }
    for size in (1, 2, 5):
        parts = [
            (token_weights(mask[i : i + size], aggregation, int(lengths.sum()), 5, 9) * loss[i : i + size]).sum()
            for i in range(0, 5, size)
        ]
        torch.testing.assert_close(sum(parts), expected[aggregation], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "fixed_length"])
def test_a_row_without_tokens_has_no_weight(aggregation):
    weights = token_weights(torch.zeros(1, 3, dtype=torch.bool), aggregation, 5, 2, 9)
    assert weights.tolist() == [[0, 0, 0]]
