"""The compiled reductions against float64, SciPy and NumPy's stable sort."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import entr, logsumexp, rel_entr

from tokenshift.distributions import kernels
from tokenshift.distributions.reduction import Reduced, reduce_vocabulary

ROOT = Path(__file__).parents[2]
TEMPERATURES = (1.0, 0.6, 1.7)
NAMES = ("js", "kl_base_tuned", "kl_tuned_base", "entropy_base", "entropy_tuned")
WIDTHS = [1, 2, 63, 64, 65, 1024, 1500, 50_003]  # around the sizes of blocks and runs


def blocks(rows: int, size: int, dtype: torch.dtype, apart: float = 0.5, scale: float = 3.0) -> list[torch.Tensor]:
    """Logits (rows, size) of a policy and of another, `apart` from it."""
    generator = torch.Generator().manual_seed(size)
    first, change = scale * torch.randn(2, rows, size, generator=generator)
    return [first.to(dtype), (first + apart / scale * change).to(dtype)]


def at_temperature_1(reduced: Reduced) -> dict[str, torch.Tensor]:
    """Its numbers (N,) at the first of its temperatures, by the names of `expected`."""
    values = (
        reduced.js[:, 0],
        reduced.kl_base_tuned,
        reduced.kl_tuned_base,
        reduced.base.entropy,
        reduced.tuned.entropy,
    )
    return dict(zip(NAMES, values, strict=True))


def expected(logits: list[torch.Tensor], temperature: float) -> dict[str, np.ndarray]:
    """By SciPy, in float64."""
    logits = [own.double().numpy() / temperature for own in logits]
    shifted = [own - own.max(-1, keepdims=True) for own in logits]
    log_totals = [logsumexp(own, axis=-1, keepdims=True) for own in shifted]
    logs = [own - total for own, total in zip(shifted, log_totals, strict=True)]
    p, q = map(np.exp, logs)
    middle = (p + q) / 2
    with np.errstate(invalid="ignore"):
        log_ratio = logs[0] - logs[1]
        return {
            "js": (rel_entr(p, middle) + rel_entr(q, middle)).sum(-1) / 2,
            "kl_base_tuned": np.where(p > 0, p * log_ratio, 0).sum(-1),
            "kl_tuned_base": np.where(q > 0, -q * log_ratio, 0).sum(-1),
            "entropy_base": entr(p).sum(-1),
            "entropy_tuned": entr(q).sum(-1),
            "log_totals_base": log_totals[0][:, 0],
            "log_totals_tuned": log_totals[1][:, 0],
        }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", WIDTHS)
def test_reductions_equal_float64(size, dtype):
    logits = blocks(7, size, dtype)
    reduced = reduce_vocabulary(*logits, TEMPERATURES, 5)
    policies = {"base": reduced.base, "tuned": reduced.tuned}
    for index, temperature in enumerate(TEMPERATURES):
        exact = expected(logits, temperature)
        np.testing.assert_allclose(reduced.js[:, index], exact["js"], rtol=1e-5, atol=1e-7)
        for name, policy in policies.items():
            np.testing.assert_allclose(policy.log_totals[:, index], exact[f"log_totals_{name}"], rtol=0, atol=1e-6)
    columns, exact = at_temperature_1(reduced), expected(logits, 1.0)
    for name in NAMES:
        np.testing.assert_allclose(columns[name], exact[name], rtol=0, atol=2e-6, err_msg=name)
    for policy, block in zip(policies.values(), logits, strict=True):
        assert (policy.largest == block.amax(-1, keepdim=True).float()).all()
        assert (policy.ids == block.double().sort(dim=-1, descending=True, stable=True).indices[:, :5]).all()


@pytest.mark.parametrize("apart", [0.01, 0.1, 1.0, 10.0])
def test_js_keeps_its_digits_where_policies_are_close(apart):
    logits = blocks(20, 5000, torch.float32, apart)
    exact = expected(logits, 1.0)["js"]
    assert exact.max() < 0.5 * apart**2
    np.testing.assert_allclose(reduce_vocabulary(*logits, (1.0,), 5).js[:, 0], exact, rtol=1e-3)


def test_equal_policies_have_a_js_of_zero():
    logits, _ = blocks(5, 3000, torch.float32)
    assert (reduce_vocabulary(logits, logits.clone(), TEMPERATURES, 5).js == 0).all()


@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_large_logits(scale):
    logits = blocks(20, 2000, torch.float32, apart=scale, scale=scale)
    columns, exact = at_temperature_1(reduce_vocabulary(*logits, (1.0,), 5)), expected(logits, 1.0)
    for name in ("js", "entropy_base", "entropy_tuned"):
        np.testing.assert_allclose(columns[name], exact[name], rtol=0, atol=1e-5, err_msg=name)
    for name in ("kl_base_tuned", "kl_tuned_base"):
        np.testing.assert_allclose(columns[name], exact[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_rows_with_infinite_logits_are_reduced_by_the_definition_and_change_no_other():
    logits = blocks(9, 3000, torch.float32)
    plain = reduce_vocabulary(*logits, TEMPERATURES, 5)
    logits[0][2, ::3] = -torch.inf
    logits[1][4, 5:] = -torch.inf
    for own in logits:
        own[6, 1000:] = -torch.inf
    reduced, exact = reduce_vocabulary(*logits, TEMPERATURES, 5), expected(logits, 1.0)
    columns = at_temperature_1(reduced)
    changed = np.isin(np.arange(9), [2, 4, 6])
    for name in NAMES:
        np.testing.assert_allclose(columns[name][changed], exact[name][changed], rtol=1e-5, atol=2e-6, err_msg=name)
    assert columns["kl_tuned_base"][2] == columns["kl_base_tuned"][4] == torch.inf
    for values, before in zip(reduced.tensors(), plain.tensors(), strict=True):
        assert torch.equal(values[~changed], before[~changed])


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_shows_in_the_entropy(broken):
    for policy in (0, 1):
        logits = blocks(3, 500, torch.float32)
        logits[policy][1, 77] = broken
        reduced = reduce_vocabulary(*logits, TEMPERATURES, 5)
        finite = (reduced.base, reduced.tuned)[policy].entropy.isfinite()
        assert finite.tolist() == [True, False, True]


def test_the_number_of_threads_changes_no_bit():
    logits, threads = blocks(50, 9000, torch.bfloat16), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(reduce_vocabulary(*logits, TEMPERATURES, 40).tensors())
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *results))


def printed_by(code: str, **variables: str) -> str:
    """What a new process prints, with these environment variables."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


BITS = """
import hashlib, torch
from tests.distributions.test_kernels import TEMPERATURES, WIDTHS, blocks
from tokenshift.distributions.reduction import reduce_vocabulary
digest = hashlib.sha256()
for size in WIDTHS:
    for values in reduce_vocabulary(*blocks(5, size, torch.float32), TEMPERATURES, 5).tensors():
        digest.update(values.numpy().tobytes())
print(digest.hexdigest())
"""


def test_neither_the_instructions_nor_the_cache_changes_a_bit(tmp_path):
    plainest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    usual, compiled, cached = (printed_by(BITS, **variables) for variables in ({}, plainest, plainest))
    assert any(tmp_path.rglob("*.nbc"))
    assert usual == compiled == cached


THREADS = """
import torch
from tokenshift.distributions import kernels
torch.set_num_threads(3)
kernels.most_probable(torch.zeros(1, 2), 1)
print(torch.get_num_threads())
"""


def test_pytorch_keeps_its_threads():
    assert printed_by(THREADS) == "3"


numbers = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([-0.0, -np.inf]), st.floats(-50, 50, width=16))


@given(hnp.arrays(np.float32, st.integers(1, 700), elements=numbers), st.integers(1, 300), st.booleans())
@settings(deadline=None)
def test_most_probable_is_a_stable_sort_to_its_last_place(values, k, half):
    block = torch.from_numpy(values)[None].to(torch.bfloat16 if half else torch.float32)
    found, ids = kernels.most_probable(block, k)
    order = np.argsort(-block[0].float().numpy(), kind="stable")[:k]
    assert ids[0].tolist() == order.tolist()
    assert torch.equal(found[0], block[0, order])


def test_most_probable_of_a_long_row_of_equals():
    found, ids = kernels.most_probable(torch.full((2, 50_000), 0.25), 60)
    assert ids.tolist() == [list(range(60))] * 2
    assert (found == 0.25).all()


def test_a_nan_makes_a_row_of_them():
    values = torch.zeros(3, 900)
    values[1, 450] = torch.nan
    found, _ = kernels.most_probable(values, 4)
    assert found.isnan().all(-1).tolist() == [False, True, False]


@given(st.permutations(range(40)), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_symmetry_and_permutation(order, seed):
    base, tuned = 4 * torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(seed))
    columns = at_temperature_1(reduce_vocabulary(base, tuned, (1.0,), 5))
    swapped = at_temperature_1(reduce_vocabulary(tuned[:, order], base[:, order], (1.0,), 5))
    torch.testing.assert_close(columns["js"], swapped["js"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(columns["kl_base_tuned"], swapped["kl_tuned_base"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(columns["entropy_base"], swapped["entropy_tuned"], rtol=1e-5, atol=1e-6)
