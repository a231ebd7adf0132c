import numpy as np
import pytest
import torch

from cross_sampling.two_policies import ALL_CRITERIA, Reference, pair, prompts_and_noise, resources
from tiny_models import tiny_model
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.policies.generation import generate
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import ALL, NONE

SAMPLING = Sampling(1.1, 0.9, 16)
ROWS = 21
WAYS = [(1, 5), (7, 1), (7, 2), (7, None), (32, 16)]  # rows decoded together, draft length


@pytest.fixture(scope="module")
def policies() -> tuple[Policy, Policy]:
    return pair()


@pytest.fixture(scope="module")
def asked() -> dict:
    return prompts_and_noise(ROWS, SAMPLING.max_new_tokens)


@pytest.fixture(scope="module")
def reference(policies) -> Reference:
    return Reference(*policies, SAMPLING)


def decode(policies, asked, criterion: str, thresholds, batch_size=32, draft=5, sampling=SAMPLING):
    task = SweepTask(**asked, criterion=ALL_CRITERIA[criterion], thresholds=thresholds, sampling=sampling)
    return cross_sample(*policies, task, resources(batch_size, draft))


def assert_equal(decoded, expected, tolerance=1e-12) -> None:
    """All columns, and no decision close enough to excuse a difference."""
    for ours, theirs in zip(decoded, expected, strict=True):
        columns = ("response", "switched", "replaced", "primary_tokens", "near_ties")
        assert [getattr(ours, name) for name in columns] == [getattr(theirs, name) for name in columns]
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=tolerance)


def thresholds_of(criterion: str, reference: Reference, asked: dict) -> list:
    """None, just above three quantiles of the scores along the primary's responses, and all; for random, shares."""
    if criterion == "random":
        return [0.0, 0.05, np.linspace(0.4, 0.1, SAMPLING.max_new_tokens), 0.5, 1.0]
    scores = np.concatenate([sample.scores for sample in reference(ALL_CRITERIA[criterion], NONE, **asked)])
    return [NONE, *(np.quantile(scores, [0.97, 0.8, 0.5]) + 1e-6), ALL]


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("criterion", ALL_CRITERIA)
def test_equals_both_models_run_from_scratch_on_every_prefix(policies, asked, reference, criterion):
    thresholds = thresholds_of(criterion, reference, asked)
    expected = [reference(ALL_CRITERIA[criterion], threshold, **asked) for threshold in thresholds]
    for batch_size, draft in WAYS:
        decoded, cost = decode(policies, asked, criterion, thresholds, batch_size, draft)
        for ours, theirs in zip(decoded, expected, strict=True):
            assert_equal(ours, theirs)
        assert cost.decided + cost.reused == sum(len(sample.response) for level in decoded for sample in level)
    switched = [np.mean([flag for sample in level for flag in sample.switched]) for level in decoded]
    assert switched[0] == 0 < switched[1] < switched[2] < switched[3] < switched[4] == 1
    ended = [len(sample.response) < SAMPLING.max_new_tokens for level in decoded for sample in level]
    assert 0.2 < np.mean(ended) < 1


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("criterion", ALL_CRITERIA)
def test_with_prompts_of_their_own_and_tokens_that_only_one_has(policies, asked, reference, criterion):
    """The intervention reads other prompts, longer and shorter; neither policy draws a token that the other lacks."""
    random = np.random.default_rng(1)
    of_problem = {tuple(prompt): random.integers(2, 20, random.integers(1, 12)).tolist() for prompt in asked["prompts"]}
    other = asked | {
        "intervention_prompts": [of_problem[tuple(prompt)] for prompt in asked["prompts"]],
        "shared_ids": np.array([*range(1, 9), *range(12, 20)]),
    }
    thresholds = thresholds_of(criterion, reference, other)
    expected = [reference(ALL_CRITERIA[criterion], threshold, **other) for threshold in thresholds]
    for batch_size, draft in WAYS:
        for ours, theirs in zip(
            decode(policies, other, criterion, thresholds, batch_size, draft)[0], expected, strict=True
        ):
            assert_equal(ours, theirs)
    drawn = {token for level in expected for sample in level for token in sample.response}
    assert drawn <= set(other["shared_ids"].tolist())


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("criterion", ["js", "random"])
def test_with_prompts_of_their_own_a_sweep_ends_at_the_interventions_rollouts(policies, asked, criterion):
    theirs = [[7, *prompt] for prompt in asked["prompts"]]
    ends, _ = decode(policies, asked | {"intervention_prompts": theirs}, criterion, [NONE, ALL])
    for samples, policy, prompts in zip(ends, policies, (asked["prompts"], theirs), strict=True):
        rollouts = generate(policy, prompts, asked["uniforms"], SAMPLING, batch_size=8)
        assert [sample.response for sample in samples] == rollouts


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("criterion", ["js", "random", "entropy_primary"])
def test_a_sweep_equals_separate_runs_in_any_order(policies, asked, reference, criterion):
    thresholds = thresholds_of(criterion, reference, asked)
    together, cost = decode(policies, asked, criterion, thresholds)
    backwards, _ = decode(policies, asked, criterion, thresholds[::-1])
    alone = [decode(policies, asked, criterion, [threshold]) for threshold in thresholds]
    for sweep, reverse, (run, _) in zip(together, backwards[::-1], alone, strict=True):
        assert_equal(sweep, run[0])
        assert_equal(reverse, run[0])
    assert cost.reused > 0
    assert cost.decided < 0.8 * sum(own.decided for _, own in alone)


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("criterion", ["js", "random"])
def test_the_ends_of_a_sweep_are_the_policies_own_rollouts(policies, asked, criterion):
    ends, _ = decode(policies, asked, criterion, [NONE, ALL])
    for samples, policy in zip(ends, policies, strict=True):
        rollouts = generate(policy, asked["prompts"], asked["uniforms"], SAMPLING, batch_size=8)
        assert [sample.response for sample in samples] == rollouts


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("architecture", ["Qwen2", "Llama", "GPT2", "Gemma2", "Gemma3", "Phi", "OPT", "Cohere"])
def test_architectures(architecture):
    models = [tiny_model(architecture, seed).double() for seed in (0, 1)]
    models[1].load_state_dict(
        {
            name: 0.7 * value + 0.3 * models[1].state_dict()[name] if value.is_floating_point() else value
            for name, value in models[0].state_dict().items()
        }
    )
    policies = tuple(Policy(model, (1,), 23) for model in models)
    asked = prompts_and_noise(9, 12)
    sampling = Sampling(1.0, 0.8, 12)
    decoded, _ = decode(policies, asked, "js", [0.1, 0.02], 4, 3, sampling)
    reference = Reference(*policies, sampling)
    for ours, threshold in zip(decoded, [0.1, 0.02], strict=True):
        assert_equal(
            ours, reference(ALL_CRITERIA["js"], threshold, **asked), 1e-6
        )  # some soften or normalise in float32
    assert 0 < np.mean([flag for sample in decoded[1] for flag in sample.replaced]) < 1


def test_forward_passes_per_token_follow_the_formula(policies):
    asked = prompts_and_noise(10, 60, samples=1)
    endless = tuple(Policy(policy.model, (), policy.vocabulary_size) for policy in policies)
    sampling = Sampling(1.0, 0.9, 60)
    for draft, threshold in ((1, 0.05), (4, 0.05), (6, 0.15)):
        _, cost = decode(endless, asked, "js", [threshold], 1, draft, sampling)
        p = cost.cut / cost.decided
        assert cost.forwards_per_token == pytest.approx((draft + 1) * p / (1 - (1 - p) ** draft), rel=0.05)
    for criterion, threshold in (("random", 0.1), ("entropy_primary", 1.5)):
        _, cost = decode(endless, asked, criterion, [threshold], 1, 8, sampling)
        assert cost.forwards_per_token == pytest.approx(1 + cost.cut / cost.decided, rel=1e-12)


def test_prompts_are_prefilled_once_per_problem(policies):
    asked = prompts_and_noise(12, 4, samples=4)
    sampling = Sampling(1.0, 0.9, 4)
    _, cost = decode(policies, asked, "js", [NONE], 1, 2, sampling)
    long_prompts = {tuple(prompt) for prompt in asked["prompts"] if len(prompt) > 1}
    assert cost.prefills == 2 * len(long_prompts)


def test_near_ties_are_counted(policies, asked):
    scores = [score for sample in decode(policies, asked, "js", [NONE])[0][0] for score in sample.scores]
    task = SweepTask(**asked, criterion=ALL_CRITERIA["js"], thresholds=[float(np.median(scores))], sampling=SAMPLING)
    strict, loose = (cross_sample(*policies, task, resources(near_tie=tolerance))[0][0] for tolerance in (0.0, 0.01))
    assert [sample.response for sample in strict] == [sample.response for sample in loose]
    assert sum(sample.near_ties for sample in strict) == 0 < sum(sample.near_ties for sample in loose)


def test_memory_decides_how_many_rows_run_at_once(policies, asked):
    task = SweepTask(**asked, criterion=ALL_CRITERIA["js"], thresholds=[0.1], sampling=SAMPLING)
    # 64 slots, 2 policies, 2 layers, keys and values of 2 heads of 8 float64 numbers: 65,536 bytes a row.
    (whole, cost), (little, less), (_, fifteen) = (
        cross_sample(*policies, task, own)
        for own in (resources(draft=1), resources(draft=1, memory_mb=1), resources(batch_size=15, draft=1))
    )
    assert_equal(little[0], whole[0])
    assert less == fifteen != cost
    with pytest.raises(StudyError, match="take 0 MB, and the memory for them is 0 MB"):
        cross_sample(*policies, task, resources(memory_mb=0))


def test_no_prompts(policies):
    decoded, cost = decode(policies, prompts_and_noise(0, 16), "js", [NONE, 0.1])
    assert decoded == [[], []]
    assert cost.decided == 0


def test_logits_that_are_not_finite_are_refused(asked):
    broken = pair()
    broken[1].model.lm_head.weight.data[3] = torch.nan
    with pytest.raises(StudyError, match="not finite"):
        decode(broken, asked, "js", [0.1])
