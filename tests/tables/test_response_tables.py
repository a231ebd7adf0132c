"""Tables of evolution and training, on files whose numbers are known."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tables.examples import analysis, four_digits, write_checkpoint_scores, write_rollouts
from tokenshift.artifacts import read_parquet
from tokenshift.config.analysis import Bootstrap
from tokenshift.config.specs import TrainingGroups
from tokenshift.errors import StudyError
from tokenshift.schemas import CHECKPOINT_SCORES
from tokenshift.tables import evolution, training

SETTINGS = analysis()


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


GROUPS = TrainingGroups(
    groups={"base": {0: "base"}, "dapo": {1: "dapo-s1", 2: "dapo-s2"}, "high": {1: "high-s1", 2: "high-s2"}},
    base_of={"dapo": "base", "high": "base"},
    baseline_of={"high": "dapo"},
)
ACCURACIES = {"base": 0.2, "dapo-s1": 0.5, "dapo-s2": 0.7, "high-s1": 0.6, "high-s2": 0.9}


def test_training(tmp_path):
    table = training.table([write_rollouts(tmp_path, *item) for item in ACCURACIES.items()], GROUPS, SETTINGS.bootstrap)
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


def test_every_compared_model_has_its_own_baseline(tmp_path):
    accuracies = ACCURACIES | {"low-s1": 0.5, "low-s2": 0.8}
    groups = GROUPS.groups | {"low": {1: "low-s1", 2: "low-s2"}}
    given = TrainingGroups(groups=groups, base_of=GROUPS.base_of, baseline_of={"high": "dapo", "low": "high"})
    table = training.table([write_rollouts(tmp_path, *item) for item in accuracies.items()], given, SETTINGS.bootstrap)
    assert value(table, model="high", seed=1, quantity="accuracy_minus_baseline") == pytest.approx(0.1)
    assert value(table, model="low", seed=1, quantity="accuracy_minus_baseline") == pytest.approx(-0.1)


def test_the_mean_over_seeds_says_what_problems_and_seeds_contribute(tmp_path):
    paths = [write_rollouts(tmp_path, *item) for item in ACCURACIES.items()]
    table = training.table(paths, GROUPS, Bootstrap(replicates=4000))
    (row,) = table.filter(pl.col("seed").is_null(), model="high", quantity="accuracy_minus_baseline").to_dicts()
    expected = stats.ttest_rel([0.6, 0.9], [0.5, 0.7]).confidence_interval(0.95)
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx(tuple(expected))
    # The share of correct responses is the same for every problem: only the seeds vary.
    assert row["problems_low"] == pytest.approx(row["problems_high"]) == pytest.approx(0.15)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected), rel=0.01)
    per_seed = table.filter(pl.col("seed").is_not_null())
    assert (
        per_seed[["problems_low", "problems_high", "seeds_low", "seeds_high"]].null_count().row(0)
        == (len(per_seed),) * 4
    )
    (alone,) = table.filter(pl.col("seed").is_null(), model="base", quantity="length").to_dicts()
    assert (alone["seeds_low"], alone["seeds_high"]) == (None, None)
    assert (alone["problems_low"], alone["problems_high"]) == (alone["ci_low"], alone["ci_high"])
    assert alone["ci_low"] < alone["estimate"] < alone["ci_high"]


def test_a_group_without_rollouts_is_left_out_and_half_a_group_is_refused(tmp_path):
    paths = {name: write_rollouts(tmp_path, name, accuracy) for name, accuracy in ACCURACIES.items()}
    without = [path for name, path in paths.items() if not name.startswith("dapo")]
    table = training.table(without, GROUPS, SETTINGS.bootstrap)
    assert set(table["model"]) == {"base", "high"}
    assert "accuracy_minus_baseline" not in table["quantity"].to_list()
    with pytest.raises(StudyError, match="no rollouts of dapo-s2 on 'heldout'"):
        training.table([*without, paths["dapo-s1"]], GROUPS, SETTINGS.bootstrap)


def test_seeds_are_paired_with_the_baselines(tmp_path):
    paths = [write_rollouts(tmp_path, name, accuracy) for name, accuracy in ACCURACIES.items()]
    groups = GROUPS.groups | {"high": {1: "high-s1", 3: "high-s2"}}
    other_seeds = TrainingGroups(groups=groups, base_of=GROUPS.base_of, baseline_of=GROUPS.baseline_of)
    with pytest.raises(StudyError, match=r"one has \[1, 3\], the baseline \[1, 2\]"):
        training.table(paths, other_seeds, SETTINGS.bootstrap)
