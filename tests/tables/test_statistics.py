import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tokenshift.config.analysis import Bootstrap
from tokenshift.errors import StudyError
from tokenshift.tables.statistics import (
    Resampled,
    average,
    average_of_seeds,
    pass_at,
    problem_weights,
    quotient,
    ratio_of_sums,
    summarise,
    t_interval,
    variance_explained,
    weighted_quantiles,
)

BOOTSTRAP = Bootstrap(replicates=400, confidence=0.95, seed=3)


def resampled(numerator, denominator, bootstrap=BOOTSTRAP, problem_ids=None):
    """One cell from per-problem sums."""
    numerator, denominator = (np.asarray(sums, float)[:, None] for sums in (numerator, denominator))
    return Resampled(
        problem_ids or tuple(f"{index:04}" for index in range(len(numerator))),
        ratio_of_sums(problem_weights(bootstrap, len(numerator)), numerator, denominator),
        (denominator > 0).sum(axis=0),
        denominator.sum(axis=0).astype(int),
    )


def interval(cells, bootstrap=BOOTSTRAP):
    estimate = summarise(bootstrap, cells)
    return float(estimate.ci_low[0]), float(estimate.ci_high[0])


def test_resamples_draw_as_many_problems_as_there_are():
    weights = problem_weights(BOOTSTRAP, 17)
    assert weights.shape == (401, 17)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 17).all()
    assert len(np.unique(weights[1:], axis=0)) == 400


def test_resamples_depend_on_seed_and_number_of_problems_alone():
    assert (
        problem_weights(Bootstrap(replicates=400, confidence=0.5, seed=3), 17) == problem_weights(BOOTSTRAP, 17)
    ).all()
    assert (
        problem_weights(Bootstrap(replicates=400, confidence=0.95, seed=4), 17) != problem_weights(BOOTSTRAP, 17)
    ).any()


def test_ratio_of_sums_is_the_mean_over_the_resampled_positions():
    generator = np.random.default_rng(0)
    positions = [generator.random(generator.integers(1, 9)) for _ in range(12)]
    cell = resampled([values.sum() for values in positions], [len(values) for values in positions])
    for weights, draw in zip(problem_weights(BOOTSTRAP, 12)[:50], cell.draws[:50, 0], strict=True):
        pooled = np.concatenate([np.tile(values, int(w)) for w, values in zip(weights, positions, strict=True)])
        assert draw == pytest.approx(pooled.mean())


def test_interval_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = interval(resampled(values, np.ones(80), many := Bootstrap(replicates=9999, confidence=0.9, seed=0)), many)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, confidence_level=0.9, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx(tuple(theirs), abs=0.03 * width)


def test_interval_over_problems_covers_and_one_over_positions_does_not():
    generator = np.random.default_rng(2)
    quick, trials, covered, naively_covered = Bootstrap(replicates=300, confidence=0.95, seed=1), 400, 0, 0
    for _ in range(trials):
        effect = generator.normal(size=(50, 1))
        positions = effect + generator.normal(size=(50, 10))
        low, high = interval(resampled(positions.sum(axis=1), np.full(50, 10), quick), quick)
        covered += low <= 0 <= high
        low, high = interval(resampled(positions.ravel(), np.ones(500), quick), quick)
        naively_covered += low <= 0 <= high
    # Binomial(400, 0.94) lies in [0.90, 0.98] with probability above 0.999; ignoring problems is found out as surely.
    assert 0.90 <= covered / trials <= 0.98
    assert naively_covered / trials < 0.75


def test_paired_difference_cancels_what_problems_share():
    generator = np.random.default_rng(4)
    difficulty = generator.normal(size=60)
    first = resampled(difficulty + 0.2 + 0.1 * generator.normal(size=60), np.ones(60))
    second = resampled(difficulty + 0.1 * generator.normal(size=60), np.ones(60))
    low, high = interval(first - second)
    assert 0.1 < low < 0.2 < high < 0.3
    assert interval(first)[0] < interval(second)[1]
    assert (first - first).draws.any() == np.False_


def test_ratio_of_ratios_is_taken_in_each_resample():
    generator = np.random.default_rng(5)
    first, second = (resampled(generator.random(9) + 1, np.ones(9)) for _ in range(2))
    assert (first / second).draws == pytest.approx(first.draws / second.draws)


def test_a_zero_denominator_is_undefined():
    assert np.isnan(quotient(np.array([0.0, 1.0]), np.array([0.0, 0.0]))).all()
    estimate = summarise(BOOTSTRAP, resampled([0, 0, 0], [0, 0, 0]))
    assert np.isnan([estimate.estimate[0], estimate.ci_low[0], estimate.ci_high[0]]).all()


def test_resamples_without_the_cell_are_left_out_of_its_interval():
    cell = resampled([3, 5, 0, 0, 0, 0], [10, 10, 0, 0, 0, 0])
    assert np.isnan(cell.draws).any()
    assert interval(cell) == pytest.approx((0.3, 0.5))


def test_one_problem_has_an_estimate_but_no_interval():
    for cell in (resampled([3], [10]), resampled([3, 0, 0], [10, 0, 0])):
        estimate = summarise(BOOTSTRAP, cell)
        assert estimate.estimate[0] == pytest.approx(0.3)
        assert np.isnan([estimate.ci_low[0], estimate.ci_high[0]]).all()


def test_average_is_taken_over_seeds_in_each_resample():
    generator = np.random.default_rng(6)
    seeds = [resampled(generator.random(9), np.full(9, 2)) for _ in range(3)]
    mean = average(seeds)
    assert mean.draws == pytest.approx(np.mean([seed.draws for seed in seeds], axis=0))
    assert (mean.n_problems[0], mean.n_tokens[0]) == (9, 54)


def test_different_problems_are_not_compared():
    first, second = resampled([1, 2], [3, 3], problem_ids=("a", "b")), resampled([1, 2], [3, 3], problem_ids=("a", "c"))
    for combine in (lambda: first - second, lambda: first / second, lambda: average([first, second])):
        with pytest.raises(StudyError, match="different problems"):
            combine()


def exact_quantile(values, q):
    """Smallest value with at least the share q at or below it, in exact arithmetic."""
    ordered = sorted(values)
    return next(v for place, v in enumerate(ordered, start=1) if place >= Fraction(str(q)) * len(ordered))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=60),
    st.lists(st.integers(0, 4), min_size=4, max_size=4),
    st.sampled_from([0.01, 0.07, 0.5, 0.57, 0.9, 0.99, 1.0]),
)
def test_weighted_quantiles_are_those_of_the_repeated_values(rows, weights, q):
    problem, values = (np.array(column) for column in zip(*rows, strict=True))
    repeated = np.repeat(values, np.array(weights)[problem])
    (of_problem, value), count = np.unique([problem, values], axis=1, return_counts=True)
    draw = weighted_quantiles(np.array([weights], float), value.astype(float), of_problem, count, [q])[0, 0]
    if len(repeated) == 0:
        assert np.isnan(draw)
    else:
        assert draw == exact_quantile(repeated.tolist(), q)


def test_weighted_quantiles_agree_with_numpy():
    generator = np.random.default_rng(7)
    values, problem = generator.exponential(size=3000), generator.integers(0, 20, size=3000)
    weights, quantiles = problem_weights(BOOTSTRAP, 20)[:40], [0.5, 0.75, 0.9, 0.95, 0.99]
    draws = weighted_quantiles(weights, values, problem, np.ones(3000), quantiles)
    for row, draw in zip(weights, draws, strict=True):
        repeated = np.repeat(values, row[problem].astype(int))
        assert draw == pytest.approx(np.quantile(repeated, quantiles, method="inverted_cdf"))


def group_sums(values, problem, group):
    keys, entry = np.unique(np.stack([problem, group]), axis=1, return_inverse=True)
    sums = (np.bincount(entry.ravel(), weights) for weights in (np.ones_like(values), values, values**2))
    return (*keys, *sums)


def test_variance_explained_agrees_with_scipys_anova():
    generator = np.random.default_rng(8)
    problem, group = generator.integers(0, 10, size=(2, 400))
    values = group / 5 + generator.normal(size=400)
    draws = variance_explained(problem_weights(BOOTSTRAP, 10)[:20], *group_sums(values, problem, group), chunk=7)
    for weights, draw in zip(problem_weights(BOOTSTRAP, 10), draws, strict=False):
        repeats = weights[problem].astype(int)
        drawn, drawn_group = np.repeat(values, repeats), np.repeat(group, repeats)
        samples = [drawn[drawn_group == g] for g in np.unique(drawn_group)]
        f, df_between, df_within = stats.f_oneway(*samples).statistic, len(samples) - 1, len(drawn) - len(samples)
        assert draw == pytest.approx(df_between * (f - 1) / (df_between * f + df_within))


def test_meaningless_groups_explain_nothing_however_many():
    generator = np.random.default_rng(9)
    shares = []
    for _ in range(60):
        problem, group = generator.integers(0, 5, size=500), generator.integers(0, 100, size=500)
        shares.append(variance_explained(np.ones((1, 5)), *group_sums(generator.normal(size=500), problem, group))[0])
    assert np.mean(shares) == pytest.approx(0, abs=0.02)


def test_variance_explained_is_one_for_a_function_of_the_group_and_undefined_for_a_constant():
    problem, group = np.arange(40) % 4, np.arange(40) % 7
    assert variance_explained(np.ones((1, 4)), *group_sums(group**2.0, problem, group)) == pytest.approx([1])
    assert np.isnan(variance_explained(np.ones((1, 4)), *group_sums(np.full(40, 0.1), problem, group))).all()


def test_a_quantile_at_an_observed_share_is_that_value():
    # 0.07 * 100 exceeds 7 in floating point, yet the seventh value has 7 % at or below it.
    draw = weighted_quantiles(np.ones((1, 1)), np.arange(1.0, 101), np.zeros(100, int), np.ones(100), [0.07])
    assert draw[0, 0] == 7


def test_a_difference_rests_on_the_problems_of_the_rarer_cell():
    difference = resampled([1, 2, 3], [1, 1, 1]) - resampled([1, 0, 0], [1, 0, 0])
    assert difference.n_problems[0] == 1
    assert np.isnan(interval(difference)).all()


@given(st.integers(1, 40), st.data())
def test_pass_at_k_is_one_minus_the_share_of_draws_without_a_correct_one(samples, data):
    k, correct = data.draw(st.integers(1, samples)), data.draw(st.integers(0, samples))
    exact = 1 - math.comb(samples - correct, k) / math.comb(samples, k)
    assert pass_at(k, np.array([correct]), samples) == pytest.approx([exact])


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8, unique=True), st.sampled_from([0.5, 0.9, 0.95]))
def test_t_interval_is_the_t_test_s(values, confidence):
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert t_interval(np.array(values), confidence) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-9)


def test_one_value_has_no_t_interval():
    assert np.isnan(t_interval(np.array([0.3]), 0.95)).all()


def test_where_problems_make_no_difference_the_average_of_seeds_has_the_t_interval():
    many = Bootstrap(replicates=20_000, confidence=0.9, seed=3)
    values = np.array([0.2, 0.5, 0.6])
    parts = [resampled([value] * 5, [1] * 5, many) for value in values]
    assert interval(average_of_seeds(parts, many), many) == pytest.approx(t_interval(values, 0.9), rel=0.01)


def test_where_seeds_make_no_difference_the_average_of_seeds_has_the_interval_over_problems():
    sums = np.random.default_rng(0).random(40)
    parts = [resampled(sums, np.ones(40))] * 3
    assert interval(average_of_seeds(parts, BOOTSTRAP)) == interval(average(parts))
    assert interval(average_of_seeds(parts[:1], BOOTSTRAP)) == interval(parts[0])


@pytest.mark.parametrize(("between_problems", "between_seeds"), [(0.3, 0.02), (0.1, 0.1), (0.02, 0.3)])
def test_the_average_of_seeds_covers_what_new_problems_and_new_seeds_would_give(between_problems, between_seeds):
    generator, truth, problems, seeds, runs = np.random.default_rng(1), 0.5, 40, 3, 300
    covered = 0
    for _ in range(runs):
        of_problem, of_seed = generator.normal(0, between_problems, problems), generator.normal(0, between_seeds, seeds)
        noise = generator.normal(0, 0.1, (seeds, problems))
        parts = [resampled(truth + of_problem + of_seed[i] + noise[i], np.ones(problems)) for i in range(seeds)]
        low, high = interval(average_of_seeds(parts, BOOTSTRAP))
        covered += low <= truth <= high
    # Nominal is 0.95. Five standard errors of a share of 300 are 0.063.
    assert covered / runs >= 0.95 - 0.063
