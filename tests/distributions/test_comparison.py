import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import rankdata

from naive_sampling import in_nucleus
from tokenshift.config.measurements import Compared, Truncation
from tokenshift.distributions.candidates import most_probable
from tokenshift.distributions.comparison import NextToken, compare, compare_nuclei, shared_candidates
from tokenshift.distributions.divergence import js


def logits(rows: int, vocabulary: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(rows, vocabulary, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def truncated(temperature: float, top_p: float) -> Truncation:
    return Truncation(temperature=temperature, top_p=top_p)


def compared(base: torch.Tensor, tuned: torch.Tensor, tokens: torch.Tensor, temperature=1.0, top_p=0.7, ablation=()):
    """All columns, with lists of five."""
    truncation, listed = truncated(temperature, top_p), Compared(top_k=5, list_minimum=0.0, ablation=ablation)
    return compare(base, tuned, tokens, truncation, listed)


def nuclei(p: torch.Tensor, q: torch.Tensor, top_p: float, candidates: int) -> dict[str, torch.Tensor]:
    """The columns of the nuclei, from the candidates of both."""
    policies = []
    for probs in (p, q):
        logits = probs.log()
        _, ids = most_probable(logits, candidates)
        policies.append(NextToken(logits, torch.zeros_like(logits[:, :1]), torch.zeros_like(logits[:, :1]), ids, 1.0))
    return compare_nuclei(*policies, top_p, js(p.log(), q.log()))


def dense_nuclei(p: torch.Tensor, q: torch.Tensor, top_p: float) -> dict[str, np.ndarray]:
    """The columns of the nuclei from dense masks."""
    inside = {"base": in_nucleus(p, top_p), "tuned": in_nucleus(q, top_p)}
    kinds = {
        "shared": inside["base"] & inside["tuned"],
        "base_only": inside["base"] & ~inside["tuned"],
        "tuned_only": inside["tuned"] & ~inside["base"],
    }
    columns = {f"nucleus_size_{name}": mask.sum(-1) for name, mask in inside.items()}
    for name, probs in (("base", p), ("tuned", q)):
        columns |= {f"mass_{name}_{kind}": (probs * mask).sum(-1) for kind, mask in kinds.items()}
    within = [(probs * mask).numpy() for probs, mask in ((p, inside["base"]), (q, inside["tuned"]))]
    columns["js_nucleus"] = jensenshannon(*within, axis=-1) ** 2
    return {name: np.asarray(values) for name, values in columns.items()}


@pytest.mark.parametrize("top_p", [0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
def test_nuclei_small_and_large_equal_dense_masks(top_p, scale):
    p, q = (logits(40, 5000, seed, scale).softmax(-1) for seed in (0, 1))
    columns = nuclei(p, q, top_p, candidates=16)
    for name, expected in dense_nuclei(p, q, top_p).items():
        np.testing.assert_allclose(columns[name], expected, atol=1e-12, err_msg=name)


def test_ties_belong_to_the_nucleus_in_the_order_of_their_ids():
    p = torch.full((1, 500), 1 / 500, dtype=torch.float64)
    q = p.clone()
    columns = nuclei(p, q, 0.5, candidates=8)
    assert columns["nucleus_size_base"] == 250
    assert columns["js_nucleus"] == 0
    assert columns["mass_base_base_only"] == 0


@given(hnp.arrays(np.float64, st.integers(1, 400), elements=st.integers(-8, 8)), st.integers(1, 20))
@settings(deadline=None)
def test_most_probable_is_a_stable_sort(values, k):
    found, ids = most_probable(torch.from_numpy(values)[None], k)
    order = np.argsort(-values, kind="stable")[:k]
    assert found[0].tolist() == values[order].tolist() == values[ids[0].numpy()].tolist()
    distinct = values[order] > np.sort(values)[::-1][: k + 1][-1]  # above the cut, ties are in the order of ids
    assert ids[0].numpy()[distinct].tolist() == order[distinct].tolist()


@given(st.permutations(range(9)), st.permutations(range(9)), st.integers(1, 9))
@settings(deadline=None)
def test_shared_candidates_are_the_intersections(first, second, k):
    shared = shared_candidates(torch.tensor([first[:k]]), torch.tensor([second[:k]]))
    assert shared[0].tolist() == [len({*first[:size]} & {*second[:size]}) for size in range(1, k + 1)]


def test_ranks_near_and_far_against_scipy():
    base, tuned = logits(200, 3000, 2), logits(200, 3000, 3)
    columns = compared(base, tuned, torch.zeros(200, dtype=torch.long))
    for name, own, other in (("base", base, tuned), ("tuned", tuned, base)):
        rival = "tuned" if name == "base" else "base"
        ranks = rankdata(-own.numpy(), axis=-1, method="min")
        expected = ranks[np.arange(200), other.argmax(-1).numpy()]
        assert (columns[f"rank_in_{name}_of_{rival}_top1"].numpy() == expected).all()
        assert (expected > 64).any()


def test_untruncated_nucleus_gives_the_full_js():
    columns = compared(logits(20, 300, 6), logits(20, 300, 7), torch.zeros(20, dtype=torch.long), top_p=1.0)
    torch.testing.assert_close(columns["js"], columns["js_nucleus"])
    assert (columns["nucleus_size_base"] == 300).all()


@given(
    hnp.arrays(np.float32, (2, 30), elements=st.one_of(st.just(-np.inf), st.floats(-1e4, 1e4, width=32))),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.7, 1.0]),
)
@settings(deadline=None)
def test_extreme_and_masked_logits(blocks, temperature, top_p):
    blocks[:, 3] = 0.0  # some token is always possible
    base, tuned = (torch.from_numpy(block)[None] for block in blocks)
    columns = compared(base, tuned, torch.tensor([3]), temperature, top_p)
    for name in ("js", "js_nucleus"):
        assert 0 <= columns[name] <= np.log(2) + 1e-6
    for name in ("kl_base_tuned", "kl_tuned_base"):
        assert columns[name] >= 0  # and not NaN
    for name in ("base", "tuned"):
        assert 0 <= columns[f"entropy_{name}"] <= np.log(30) + 1e-5
        assert 1 <= columns[f"nucleus_size_{name}"] <= 30
    p, q = (block.double().softmax(-1).numpy() for block in (base, tuned))
    # The terms of SciPy's jensenshannon before its square root, which is NaN where their sum rounds below zero.
    expected = (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)).sum(-1) / 2
    np.testing.assert_allclose(columns["js"], expected, atol=1e-5)


def test_the_ablation_is_what_each_truncation_gives_by_itself():
    base, tuned, tokens = logits(40, 700, 8), logits(40, 700, 9), torch.zeros(40, dtype=torch.long)
    further = (truncated(1.0, 0.9), truncated(0.5, 1.0), truncated(1.7, 0.95))
    together = compared(base, tuned, tokens, ablation=further)["js_ablation"]
    for index, cut in enumerate(further):
        alone = compared(base, tuned, tokens, cut.temperature, cut.top_p)["js_nucleus"]
        torch.testing.assert_close(together[:, index], alone, rtol=0, atol=1e-12)


def test_a_vocabulary_of_many_runs_equals_float64():
    """Large enough that sums are cut into runs, with a rest."""
    base, tuned = logits(30, 50_003, 10), logits(30, 50_003, 11)
    tokens = torch.arange(30)
    exact, single = compared(base, tuned, tokens), compared(base.float(), tuned.float(), tokens)
    for name, values in single.items():
        torch.testing.assert_close(values.double(), exact[name].double(), rtol=0, atol=1e-5, msg=name)
