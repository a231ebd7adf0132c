"""Tables of evolution, cross-sampling and training, on files whose numbers are known."""

import math

import numpy as np
import polars as pl
import pytest

from tables.examples import analysis, four_digits, write_checkpoint_scores, write_cross_samples, write_rollouts
from tokenshift.artifacts import read_parquet
from tokenshift.errors import StudyError
from tokenshift.schemas import CHECKPOINT_SCORES
from tokenshift.tables import cross_sampling, evolution, training

SETTINGS = analysis()
INF = math.inf
FORWARD = {INF: (0.2, 0, 0), 0.3: (0.4, 4, 1), 0.1: (0.6, 8, 2), -INF: (0.7, 20, 5)}
RANDOM = {INF: (0.2, 0, 0), 0.3: (0.2, 4, 0), 0.1: (0.3, 8, 1), -INF: (0.7, 20, 5)}


def value(table: pl.DataFrame, **keys) -> float:
    """The estimate of the one row with these keys."""
    return table.filter(*(pl.col(name).eq_missing(key) for name, key in keys.items()))["estimate"].item()


def test_evolution(tmp_path):
    path = write_checkpoint_scores(tmp_path)
    frame, table = read_parquet(path, CHECKPOINT_SCORES), evolution.table([path], SETTINGS)
    assert table["divergence"].unique(maintain_order=True).to_list() == ["js", "js_nucleus"]
    for row in table.iter_rows(named=True):
        values = frame.filter(step=row["step"])[row["divergence"]].to_numpy()
        exact = np.quantile(values, row["quantile"], method="inverted_cdf")
        assert row["estimate"] == pytest.approx(four_digits(exact))
        assert row["ci_low"] <= row["estimate"] <= row["ci_high"]
        assert (row["n_problems"], row["n_tokens"]) == (6, 120)


def test_cross_sampling(tmp_path):
    paths = [write_cross_samples(tmp_path, FORWARD), write_cross_samples(tmp_path, RANDOM, run="forward-random")]
    table = cross_sampling.table(paths, SETTINGS)
    assert table.columns[:7] == ["pair", "set", "direction", "criterion", "budget", "threshold", "quantity"]
    js = table.filter(criterion="js")
    assert js.select("budget", "threshold").unique(maintain_order=True).rows() == list(enumerate([INF, 0.3, 0.1, -INF]))
    for threshold, (accuracy, switched, replaced) in FORWARD.items():
        at = js.filter(threshold=threshold)
        expected = {
            "accuracy": accuracy + 0.05,
            "switched_share": switched / 20,
            "effective_share": replaced / 20,
            "effective_count": replaced,
            "length": 20,
            "accuracy_minus_primary": accuracy - 0.2,
            "recovered_gain": (accuracy - 0.2) / 0.5,
            "accuracy_minus_random": accuracy - RANDOM[threshold][0],
        }
        assert {quantity: value(at, quantity=quantity) for quantity in expected} == pytest.approx(expected)
        assert set(at["n_tokens"]) == {6 * 10 * 20}
    assert "accuracy_minus_random" not in table.filter(criterion="random")["quantity"].unique()


def test_the_primarys_gain_is_nothing_and_the_interventions_all_of_it_in_every_resample(tmp_path):
    table = cross_sampling.table([write_cross_samples(tmp_path, FORWARD)], SETTINGS).filter(quantity="recovered_gain")
    assert table.row(0)[-5:-2] == pytest.approx((0, 0, 0))
    assert table.row(-1)[-5:-2] == pytest.approx((1, 1, 1))


def test_no_gap_leaves_the_recovered_gain_undefined(tmp_path):
    flat = {INF: (0.5, 0, 0), 0.1: (0.6, 8, 2), -INF: (0.5, 20, 5)}
    table = cross_sampling.table([write_cross_samples(tmp_path, flat)], SETTINGS)
    assert table.filter(quantity="recovered_gain")["estimate"].is_null().all()


def test_a_sweep_needs_both_ends(tmp_path):
    path = write_cross_samples(tmp_path, {INF: (0.2, 0, 0), 0.1: (0.6, 8, 2)})
    with pytest.raises(StudyError, match="thresholds inf and -inf"):
        cross_sampling.table([path], SETTINGS)


def test_a_random_control_of_other_thresholds_is_refused(tmp_path):
    others = {INF: (0.2, 0, 0), 0.2: (0.2, 4, 0), -INF: (0.7, 20, 5)}
    paths = [write_cross_samples(tmp_path, FORWARD), write_cross_samples(tmp_path, others, run="forward-random")]
    with pytest.raises(StudyError, match="other thresholds"):
        cross_sampling.table(paths, SETTINGS)


GROUPS = {
    "groups": {
        "base": {"0": "base"},
        "dapo": {"1": "dapo-s1", "2": "dapo-s2"},
        "high": {"1": "high-s1", "2": "high-s2"},
    },
    "base_of": {"dapo": "base", "high": "base"},
    "baseline": "dapo",
    "compared": ["high"],
}
ACCURACIES = {"base": 0.2, "dapo-s1": 0.5, "dapo-s2": 0.7, "high-s1": 0.6, "high-s2": 0.9}


def test_training(tmp_path):
    table = training.table([write_rollouts(tmp_path, *item) for item in ACCURACIES.items()], GROUPS, SETTINGS)
    assert table.columns[:4] == ["model", "set", "seed", "quantity"]
    assert value(table, model="high", seed=2, quantity="accuracy") == pytest.approx(0.9)
    assert value(table, model="high", seed=None, quantity="accuracy") == pytest.approx(0.75)
    assert value(table, model="high", seed=2, quantity="accuracy_minus_base") == pytest.approx(0.7)
    assert value(table, model="high", seed=2, quantity="accuracy_minus_baseline") == pytest.approx(0.2)
    assert value(table, model="high", seed=None, quantity="accuracy_minus_baseline") == pytest.approx(0.15)
    assert value(table, model="base", seed=None, quantity="length") == pytest.approx(6.5)
    compared = table.filter(quantity="accuracy_minus_baseline")
    assert set(compared["model"]) == {"high"}
    assert "accuracy_minus_base" not in table.filter(model="base")["quantity"].to_list()
    assert set(table.filter(seed=1)["n_tokens"]) == {6 * 65}


def test_a_group_without_rollouts_is_left_out_and_half_a_group_is_refused(tmp_path):
    paths = {name: write_rollouts(tmp_path, name, accuracy) for name, accuracy in ACCURACIES.items()}
    without = [path for name, path in paths.items() if not name.startswith("dapo")]
    table = training.table(without, GROUPS, SETTINGS)
    assert set(table["model"]) == {"base", "high"}
    assert "accuracy_minus_baseline" not in table["quantity"].to_list()
    with pytest.raises(StudyError, match="no rollouts of dapo-s2 on 'heldout'"):
        training.table([*without, paths["dapo-s1"]], GROUPS, SETTINGS)


def test_seeds_are_paired_with_the_baselines(tmp_path):
    paths = [write_rollouts(tmp_path, name, accuracy) for name, accuracy in ACCURACIES.items()]
    other_seeds = GROUPS["groups"] | {"high": {"1": "high-s1", "3": "high-s2"}}
    with pytest.raises(StudyError, match=r"one has \[1, 3\], the baseline \[1, 2\]"):
        training.table(paths, GROUPS | {"groups": other_seeds}, SETTINGS)
