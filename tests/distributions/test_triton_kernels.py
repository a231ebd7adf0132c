"""The reductions of a GPU against float64, run by Triton's interpreter on the CPU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distributions.test_kernels import NAMES, TEMPERATURES, at_temperature_1, blocks, expected
from tokenshift.distributions import kernels
from tokenshift.distributions.reduction import Reduced, reduce_vocabulary

pytest.importorskip("triton", reason="Triton is not installed: `make test` installs it, PyTorch for GPUs brings it")
WIDTHS = [1, 63, 64, 65, 2048, 2049, 5003]  # around the sizes of blocks and runs
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of infinities and NaN, by the interpreter's NumPy


@pytest.fixture(autouse=True, scope="module")
def on_gpu():
    """Logits on the CPU are taken for ones on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "serves", lambda _: False)
        yield


def assert_equals_float64(reduced: Reduced, logits: list[torch.Tensor], temperatures: tuple[float, ...]) -> None:
    for index, temperature in enumerate(temperatures):
        exact = expected(logits, temperature)
        np.testing.assert_allclose(reduced.js[:, index], exact["js"], rtol=1e-5, atol=2e-7)
        for name, policy in (("base", reduced.base), ("tuned", reduced.tuned)):
            np.testing.assert_allclose(policy.log_totals[:, index], exact[f"log_totals_{name}"], rtol=0, atol=2e-6)
    columns, exact = at_temperature_1(reduced), expected(logits, 1.0)
    for name in NAMES:
        np.testing.assert_allclose(columns[name], exact[name], rtol=1e-5, atol=4e-6, err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", WIDTHS)
def test_reductions_equal_float64(size, dtype):
    logits = blocks(3, size, dtype)
    reduced = reduce_vocabulary(*logits, TEMPERATURES, 5)
    assert_equals_float64(reduced, logits, TEMPERATURES)
    for policy, block in zip((reduced.base, reduced.tuned), logits, strict=True):
        assert (policy.largest == block.amax(-1, keepdim=True).float()).all()
        rival = reduced.tuned.ids[:, :1] if policy is reduced.base else reduced.base.ids[:, :1]
        assert (policy.rank_of_rival == (block > block.gather(-1, rival)).sum(-1) + 1).all()
        if dtype == torch.float32:  # equal values at the last place may be taken in any order
            assert (policy.ids == block.sort(dim=-1, descending=True, stable=True).indices[:, :5]).all()


@pytest.mark.parametrize("apart", [0.01, 0.1, 1.0, 10.0])
def test_js_keeps_its_digits_where_policies_are_close(apart):
    logits = blocks(3, 5000, torch.float32, apart)
    exact = expected(logits, 1.0)["js"]
    np.testing.assert_allclose(reduce_vocabulary(*logits, (1.0,), 5).js[:, 0], exact, rtol=1e-3)


def test_equal_policies_have_a_js_of_zero():
    logits, _ = blocks(3, 3000, torch.float32)
    assert (reduce_vocabulary(logits, logits.clone(), TEMPERATURES, 5).js == 0).all()


def test_infinite_logits_have_the_numbers_of_the_definition():
    logits = blocks(6, 5000, torch.float32)
    logits[0][1, ::3] = -torch.inf
    logits[1][2, 5:] = -torch.inf
    logits[0][3, :4000] = -torch.inf  # whole runs of tokens
    for own in logits:
        own[4, 1000:] = -torch.inf
    columns, exact = at_temperature_1(reduce_vocabulary(*logits, TEMPERATURES, 5)), expected(logits, 1.0)
    for name in NAMES:
        np.testing.assert_allclose(columns[name], exact[name], rtol=1e-5, atol=4e-6, err_msg=name)
    assert columns["kl_tuned_base"][1] == columns["kl_base_tuned"][2] == torch.inf


def test_support_that_vanishes_beside_later_tokens_counts_for_nothing():
    logits = blocks(2, 5000, torch.float32)
    logits[0][:, :2100] = -1000.0  # of probability 0 beside the others, in float64 too
    logits[1][:, :2100] = -torch.inf
    columns, exact = at_temperature_1(reduce_vocabulary(*logits, (1.0,), 5)), expected(logits, 1.0)
    for name in NAMES:
        np.testing.assert_allclose(columns[name], exact[name], rtol=1e-5, atol=4e-6, err_msg=name)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_spoils_its_row_alone(value):
    logits = blocks(3, 3000, torch.float32)
    logits[1][1, 2500] = value
    columns = at_temperature_1(reduce_vocabulary(*logits, TEMPERATURES, 5))
    for name in ("js", "kl_base_tuned", "entropy_tuned"):
        assert columns[name].isfinite().tolist() == [True, False, True], name


ROWS = st.tuples(st.integers(1, 3), st.sampled_from([1, 7, 64, 100, 2048, 2100]))


@settings(deadline=None, max_examples=25)
@given(st.data(), ROWS, st.sampled_from([(1.0,), (1.0, 0.3), (1.0, 2.5)]))
def test_any_rows(data, shape, temperatures):
    values = hnp.arrays(np.float32, shape, elements=st.sampled_from([-50, -3, -1, 0, 0.125, 2, 2.5, 30, -np.inf]))
    logits = [torch.from_numpy(data.draw(values)) for _ in range(2)]
    for own in logits:
        own[:, data.draw(st.integers(0, shape[1] - 1))] = 1.0  # one at least is finite
    assert_equals_float64(reduce_vocabulary(*logits, temperatures, 3), logits, temperatures)
