import numpy as np
import pytest
import torch

from tiny_models import STOP, VOCABULARY, mixed, tiny_policy
from tokenshift.cross_sampling import ALL, NONE, at_random, cross_sample, js_above, sweep_thresholds
from tokenshift.divergence import js, log_probabilities
from tokenshift.generation import Policy, generate
from tokenshift.noise import uniforms
from tokenshift.sampling import Sampling, draw

SAMPLING = Sampling(1.0, 0.9, 20)
ROWS = 60


@pytest.fixture(scope="module")
def pair() -> tuple[Policy, Policy]:
    primary = tiny_policy(0)
    return primary, mixed(primary, tiny_policy(1), 0.3)


@pytest.fixture(scope="module")
def asked() -> dict:
    random = np.random.default_rng(0)
    names = [str(row) for row in range(ROWS)]
    return {
        "prompts": [random.integers(2, VOCABULARY, random.integers(3, 9)).tolist() for _ in names],
        "uniforms": uniforms(0, "token", names, [0] * ROWS, SAMPLING.max_new_tokens),
        "coins": uniforms(0, "coin", names, [0] * ROWS, SAMPLING.max_new_tokens),
    }


def reference(primary: Policy, intervention: Policy, prompt: list[int], noise: np.ndarray, threshold: float):
    """One cross-sample by running both models from scratch on every prefix."""
    response, switched, primary_tokens = [], [], []
    while len(response) < SAMPLING.max_new_tokens and STOP not in response:
        with torch.inference_mode():
            logits = [
                policy.model(torch.tensor([prompt + response])).logits[:, -1, :VOCABULARY]
                for policy in (primary, intervention)
            ]
        fires = bool(js(*map(log_probabilities, logits)) > threshold)
        draws = [int(draw(block, torch.tensor([noise[len(response)]]), SAMPLING)) for block in logits]
        response.append(draws[fires])
        switched.append(fires)
        primary_tokens.append(draws[0])
    return response, switched, primary_tokens


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.3])
def test_equals_decoding_from_scratch(pair, asked, threshold):
    samples = cross_sample(*pair, **asked, rule=js_above(threshold), sampling=SAMPLING, batch_size=16)
    for sample, prompt, noise in zip(samples, asked["prompts"], asked["uniforms"], strict=True):
        response, switched, primary_tokens = reference(*pair, prompt, noise, threshold)
        assert (sample.response, sample.switched, sample.primary_tokens) == (response, switched, primary_tokens)
        assert sample.replaced == [a != b for a, b in zip(response, primary_tokens, strict=True)]
    assert 0 < np.mean([switch for sample in samples for switch in sample.switched]) < 1


@pytest.mark.parametrize(("none", "all_"), [(js_above(NONE), js_above(ALL)), (at_random(0.0), at_random(1.0))])
def test_the_ends_of_a_sweep_are_the_policies_own_rollouts(pair, asked, none, all_):
    for rule, policy in ((none, pair[0]), (all_, pair[1])):
        samples = cross_sample(*pair, **asked, rule=rule, sampling=SAMPLING, batch_size=32)
        rollouts = generate(policy, asked["prompts"], asked["uniforms"], SAMPLING, batch_size=32)
        assert [sample.response for sample in samples] == rollouts


def test_random_positions_switch_at_their_share(pair, asked):
    samples = cross_sample(*pair, **asked, rule=at_random(0.2), sampling=SAMPLING, batch_size=32)
    switched = np.concatenate([sample.switched for sample in samples])
    error = np.sqrt(0.2 * 0.8 / len(switched))
    assert abs(switched.mean() - 0.2) < 4 * error


def test_thresholds_are_distinct_observed_values_from_the_largest():
    values = np.array([0.0, 0.0, 0.0, 0.1, 0.2, 0.3])
    assert sweep_thresholds(values, [0.1, 0.4, 0.6, 0.8]) == [0.2, 0.1, 0.0]
