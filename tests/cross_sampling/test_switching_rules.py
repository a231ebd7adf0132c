import math

import numpy as np
import pytest
import torch
from scipy import spatial, stats

from cross_sampling.two_policies import ALL_CRITERIA
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.registries.criteria import ALL, NONE, criterion

SAMPLING = Sampling(0.7, 0.8, 4)
ROWS, SIZE = 50, 40


@pytest.fixture(scope="module")
def blocks() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    own = 2 * random.standard_normal((ROWS, SIZE))
    return own, own + random.standard_normal((ROWS, SIZE))


def scores(name: str, blocks, drafted=None, coins=None) -> np.ndarray:
    own, other = (Distribution(torch.from_numpy(block), SAMPLING) for block in blocks)
    drafted = torch.zeros(ROWS, dtype=torch.long) if drafted is None else torch.from_numpy(drafted)
    coins = torch.zeros(ROWS) if coins is None else torch.from_numpy(coins)
    given = None if ALL_CRITERIA[name].primary_alone else other
    return SCORES[name](Observed(own, given, drafted, coins)).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def truncated(logits: np.ndarray) -> np.ndarray:
    """The sampling distribution, a row at a time."""
    p = softmax(logits / SAMPLING.temperature)
    for row in p:
        order = np.argsort(-row)
        row[order[np.searchsorted(row[order].cumsum(), SAMPLING.top_p) + 1 :]] = 0
    return p / p.sum(-1, keepdims=True)


def test_scores_are_those_of_scipy(blocks):
    p, q = map(softmax, blocks)
    divergence = lambda a, b: [spatial.distance.jensenshannon(x, y) ** 2 for x, y in zip(a, b, strict=True)]  # noqa: E731
    drafted = np.random.default_rng(1).integers(0, SIZE, ROWS)
    each = np.arange(ROWS)
    expected = {
        "js": divergence(p, q),
        "js_nucleus": divergence(*map(truncated, blocks)),
        "kl_primary_intervention": stats.entropy(p, q, axis=-1),
        "kl_intervention_primary": stats.entropy(q, p, axis=-1),
        "entropy_primary": stats.entropy(p, axis=-1),
        "entropy_intervention": stats.entropy(q, axis=-1),
        "logp_difference": np.log(p[each, drafted]) - np.log(q[each, drafted]),
        "random": np.linspace(0, 0.99, ROWS),
    }
    assert set(expected) == set(ALL_CRITERIA) == set(SCORES)
    for name, values in expected.items():
        np.testing.assert_allclose(scores(name, blocks, drafted, expected["random"]), values, atol=1e-10)


@pytest.mark.parametrize("name", ALL_CRITERIA)
def test_direction(name):
    """Scores above a threshold switch, coins below a probability; infinity nowhere, minus infinity everywhere."""
    rule = ALL_CRITERIA[name]
    values = np.array([0.1, 0.3, 0.5, 0.7])
    whole, by_position = (
        rule.switches(values, rule.thresholds(given, 4, SIZE)) for given in (0.5, [0.2, 0.2, 0.6, 0.6])
    )
    assert whole.tolist() == ([True, True, False, False] if name == "random" else [False, False, False, True])
    assert by_position.tolist() == ([True, False, True, False] if name == "random" else [False, True, False, True])
    assert not rule.switches(values, rule.thresholds(NONE, 4, SIZE)).any()
    assert rule.switches(values, rule.thresholds(ALL, 4, SIZE)).all()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("js", -0.1),
        ("js", math.log(2) + 1e-9),
        ("js_nucleus", 1.0),
        ("kl_primary_intervention", -1e-3),
        ("entropy_primary", math.log(SIZE) + 1e-9),
        ("entropy_intervention", -1.0),
        ("random", 1.5),
        ("random", [0.1, 0.2, -0.3, 0.4]),
        ("logp_difference", math.nan),
    ],
)
def test_thresholds_outside_the_range_are_refused(name, wrong):
    with pytest.raises(StudyError, match=f"{name}: threshold .* lies outside its range"):
        ALL_CRITERIA[name].thresholds(wrong, 4, SIZE)


def test_thresholds_by_position_have_the_length_of_responses():
    with pytest.raises(StudyError, match="random: 3 thresholds by position, but responses have 4"):
        ALL_CRITERIA["random"].thresholds([0.1, 0.2, 0.3], 4, SIZE)


def test_an_unknown_criterion_is_refused_with_the_nearest():
    with pytest.raises(StudyError, match="did you mean 'entropy_primary'"):
        criterion("entropy_prim")
