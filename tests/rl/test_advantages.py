import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.rl.advantages import EPSILON, group_advantages, overlong_penalty, rewards


@given(st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=5), st.booleans())
def test_advantages_are_numpys(groups, scale):
    array = np.array(groups)
    expected = array - array.mean(1, keepdims=True)
    if scale:
        expected /= array.std(1, ddof=1, keepdims=True) + EPSILON
    equal = (array == array[:, :1]).all(1, keepdims=True)
    np.testing.assert_allclose(group_advantages(torch.tensor(array), scale), np.where(equal, 0, expected), atol=1e-9)


@pytest.mark.parametrize("scale", [True, False])
def test_equal_rewards_give_no_advantage_at_all(scale):
    assert (group_advantages(torch.full((3, 7), -0.3, dtype=torch.float64), scale) == 0).all()


def test_rewards_are_those_of_the_recipe():
    assert rewards(torch.tensor([[True, False]]), 1.0, -1.0).tolist() == [[1.0, -1.0]]


def test_overlong_penalty_grows_over_the_buffer():
    lengths = torch.tensor([1, 60, 70, 80, 100])
    assert overlong_penalty(lengths, 100, buffer=40, factor=2.0).tolist() == [0, 0, -0.5, -1.0, -2.0]
