"""The frontier of the optimal budget: known numbers, and that cross-fitting takes out what naive choosing flatters."""

import math

import numpy as np
import polars as pl
import pytest

from tables.examples import analysis, random_sweep, response, write, write_cross_samples, write_random_sweep
from tokenshift.errors import StudyError
from tokenshift.schemas import CROSS_SAMPLES
from tokenshift.tables import budget_frontier

INF = math.inf
SETTINGS = analysis(budget_points=4, budget_splits=3)
THRESHOLDS = [INF, 0.4, 0.1, 0.0, -INF]


def value(table: pl.DataFrame, **keys) -> float:
    """The estimate of the one row with these keys."""
    return table.filter(*(pl.col(name) == key for name, key in keys.items()))["estimate"].item()


def write_two_kinds(folder, run: str):
    """Half of the problems gain by one replaced token, the others by none of two: what a threshold costs everyone."""
    rows = [
        {"threshold": threshold}
        | response(problem, sample, (problem % 2 and threshold < INF) != (run == "reverse-js"), 10)
        | {"switched": [threshold < INF] * 10, "replaced": [False] * (10 - replaced) + [True] * replaced}
        | {"primary_token_ids": [3] * 10, "near_ties": 0}
        for problem in range(8)
        for sample in range(6)
        for threshold, replaced in ((INF, 0), (0.1, 1 + (problem % 2 == 0)), (-INF, 3))
    ]
    return write(folder / "cross_samples" / "dapo" / "heldout" / f"{run}.parquet", rows, CROSS_SAMPLES)


@pytest.mark.parametrize(("run", "start", "sign"), [("forward-js", 0, 1), ("reverse-js", 1, -1)])
def test_a_threshold_per_problem_spends_where_it_helps(tmp_path, run, start, sign):
    table = budget_frontier.table([write_two_kinds(tmp_path, run)], SETTINGS)
    assert table["budget"].unique(maintain_order=True).to_list() == pytest.approx([0, 0.75, 1.5, 2.25, 3])
    for evaluation in ("cross_fitted", "naive"):
        at = table.filter(evaluation=evaluation)
        accuracy = at.filter(quantity="accuracy", policy="per_problem")["estimate"].to_list()
        single = at.filter(quantity="accuracy", policy="one_threshold")["estimate"].to_list()
        count = at.filter(quantity="effective_count", policy="per_problem")["estimate"].to_list()
        # 0.75 tokens a response are 36 over all: one for each of the 24 responses that gain.
        assert accuracy == pytest.approx([start, *[start + 0.5 * sign] * 4])
        assert count == pytest.approx([0, 0.5, 0.5, 0.5, 0.5])
        assert single == pytest.approx([start, start, *[start + 0.5 * sign] * 3])
        differences = at.filter(quantity="accuracy_minus_one_threshold")["estimate"].to_list()
        assert differences == pytest.approx([0, 0.5 * sign, 0, 0, 0])


def test_cross_fitting_takes_out_the_optimism(tmp_path):
    """Thresholds of pure chance: accuracy is 0.5 whatever is chosen, which naive choosing does not see."""
    rows = random_sweep(seed=6, thresholds=THRESHOLDS, problems=60, samples=8, longest=6)
    chance = np.random.default_rng(7).random(len(rows)) < 0.5
    rows = [row | {"correct": bool(correct)} for row, correct in zip(rows, chance, strict=True)]
    path = write(tmp_path / "cross_samples" / "dapo" / "heldout" / "forward-js.parquet", rows, CROSS_SAMPLES)
    table = budget_frontier.table([path], SETTINGS)
    most = table.filter(policy="per_problem", budget=table["budget"].max())
    naive, honest = (value(most, evaluation=of, quantity="accuracy") for of in ("naive", "cross_fitted"))
    assert naive > 0.65
    assert honest == pytest.approx(0.5, abs=0.05)
    optimism = most.filter(quantity="accuracy_minus_cross_fitted").row(0, named=True)
    assert optimism["estimate"] == pytest.approx(naive - honest)
    assert optimism["ci_low"] > 0.1


def test_naive_choices_keep_to_the_budget_and_gain_with_it(tmp_path):
    table = budget_frontier.table([write_random_sweep(tmp_path, seed=8, thresholds=THRESHOLDS, samples=6)], SETTINGS)
    naive = table.filter(evaluation="naive")
    spent = naive.filter(quantity="effective_count")
    assert (spent["estimate"] <= spent["budget"] + 1e-9).all()
    per_problem = naive.filter(quantity="accuracy", policy="per_problem")["estimate"].to_numpy()
    single = naive.filter(quantity="accuracy", policy="one_threshold")["estimate"].to_numpy()
    assert (np.diff(per_problem) >= 0).all()
    assert (per_problem >= single).all()


def test_halves_are_disjoint_and_whole():
    folds = budget_frontier.halvings(7, 3, seed=0)
    assert len(folds) == 6
    for choosing, judging in folds:
        assert sorted([*choosing, *judging]) == list(range(7))
    assert len({tuple(sorted(choosing)) for choosing, _ in folds}) > 2


def test_one_sample_cannot_be_cross_fitted(tmp_path):
    path = write_random_sweep(tmp_path, seed=9, thresholds=THRESHOLDS, samples=1)
    table = budget_frontier.table([path], SETTINGS)
    assert table.filter(evaluation="cross_fitted")["estimate"].is_null().all()
    assert table.filter(evaluation="naive", quantity="accuracy")["estimate"].is_not_null().all()


def test_random_controls_have_no_frontier_and_the_rest_is_the_same_every_time(tmp_path):
    sweep = {INF: (0.2, 0, 0), 0.1: (0.6, 8, 2), -INF: (0.7, 20, 5)}
    paths = [write_cross_samples(tmp_path, sweep, run=f"forward-{criterion}") for criterion in ("js", "random")]
    first, again = (budget_frontier.table(paths, SETTINGS) for _ in range(2))
    assert set(first["criterion"]) == {"js"}
    assert first.equals(again)
    with pytest.raises(StudyError, match="only random controls are given"):
        budget_frontier.table(paths[1:], SETTINGS)
