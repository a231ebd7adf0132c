"""Sequences decoded from two policies with three tokens follow the enumerated distribution of the mixture.

In half precision too: of the mixture that the rule makes of the logits as they are computed.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cross_sampling.two_policies import ALL_CRITERIA, resources
from naive_sampling import nucleus_probabilities
from tests_of_fit import rejects
from tiny_models import tiny_policy
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import CRITERIA, Criterion

TOKENS, LENGTH, STOP, PROMPT, RESPONSES = 3, 3, 1, (2, 0), 4000
SAMPLING = Sampling(1.0, 0.95, LENGTH)


@pytest.fixture(scope="module", params=[torch.float64, torch.bfloat16])
def policies(request) -> tuple[Policy, ...]:
    models = (tiny_policy(seed, sharpness=8.0).model.to(request.param) for seed in (3, 4))
    return tuple(Policy(model, (STOP,), TOKENS) for model in models)


def sequences() -> list[tuple[int, ...]]:
    """All responses: they end with the first STOP, or at full length."""
    cut = {
        word[: word.index(STOP) + 1] if STOP in word else word
        for word in itertools.product(range(TOKENS), repeat=LENGTH)
    }
    return sorted(cut)


def logits_after(policies, prefix: tuple[int, ...]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [policy.model(torch.tensor([prefix])).logits[:, -1, :TOKENS] for policy in policies]


def score_after(policies, criterion: Criterion, prefix: tuple[int, ...]) -> float:
    """Score of a criterion that looks at the prefix alone."""
    both = [Distribution(block, SAMPLING) for block in logits_after(policies, prefix)]
    return SCORES[criterion.name](Observed(*both, torch.zeros(1, dtype=torch.long), torch.zeros(1))).item()


def middle(policies, criterion: Criterion) -> float:
    """A threshold that switches after some prefixes and not after others."""
    going = [token for token in range(TOKENS) if token != STOP]
    prefixes = [word for length in range(LENGTH) for word in itertools.product(going, repeat=length)]
    scores = sorted(score_after(policies, criterion, PROMPT + word) for word in prefixes)
    return (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2  # far from a near tie in any precision


def step(policies, criterion: Criterion, threshold: float, prefix: tuple[int, ...]) -> np.ndarray:
    """Next-token distribution (V,) of the mixture."""
    own, other = (
        nucleus_probabilities(block, SAMPLING.temperature, SAMPLING.top_p)[0].numpy()
        for block in logits_after(policies, prefix)
    )
    if criterion.name == "random":
        return threshold * other + (1 - threshold) * own
    return other if score_after(policies, criterion, prefix) > threshold else own


def probability(policies, criterion: Criterion, threshold: float, word: tuple[int, ...]) -> float:
    return float(
        np.prod([step(policies, criterion, threshold, PROMPT + word[:at])[word[at]] for at in range(len(word))])
    )


def counts(policies, criterion: Criterion, threshold: float, words: list[tuple[int, ...]]) -> np.ndarray:
    names, numbers = ["p"] * RESPONSES, range(RESPONSES)
    noise, coins = (uniforms(0, purpose, names, numbers, LENGTH) for purpose in ("token", "coin"))
    task = SweepTask([PROMPT] * RESPONSES, noise, coins, criterion, [threshold], SAMPLING)
    (samples,), _ = cross_sample(*policies, task, resources(256, 2))
    place = {word: index for index, word in enumerate(words)}
    return np.bincount([place[tuple(sample.response)] for sample in samples], minlength=len(words))


@pytest.mark.parametrize("criterion", ["js", "random", "entropy_primary"])
def test_sequence_frequencies(policies, criterion):
    words = sequences()
    rule = ALL_CRITERIA[criterion]
    threshold = 0.4 if criterion == "random" else middle(policies, rule)
    exact = np.array([probability(policies, rule, threshold, word) for word in words])
    assert exact.sum() == pytest.approx(1)
    own, other = (
        np.array([probability(policies, ALL_CRITERIA["random"], share, word) for word in words]) for share in (0.0, 1.0)
    )
    observed = counts(policies, rule, threshold, words)
    assert not rejects(observed, RESPONSES * exact)
    assert rejects(observed, RESPONSES * own)
    assert rejects(observed, RESPONSES * other)


def test_a_broken_rule_is_noticed(policies, monkeypatch):
    words = sequences()
    js, score = CRITERIA["js"], SCORES["js"]
    threshold = middle(policies, js)
    exact = np.array([probability(policies, js, threshold, word) for word in words])
    below = replace(js, switches_below=True)
    assert rejects(counts(policies, below, threshold, words), RESPONSES * exact)
    monkeypatch.setitem(SCORES, "js", lambda observed: score(observed).roll(1))
    assert rejects(counts(policies, js, threshold, words), RESPONSES * exact)
