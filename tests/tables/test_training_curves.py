"""The table of training curves, on reports whose numbers are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tables.examples import write_metrics
from tokenshift.errors import StudyError
from tokenshift.tables.training_curves import table

GROUPS = {"dapo": {1: "dapo-s1", 2: "dapo-s2", 3: "dapo-s3"}, "grpo": {0: "grpo"}}
REWARDS = {"dapo-s1": [0.1, 0.5], "dapo-s2": [0.2, 0.6], "dapo-s3": [0.6, 0.7], "grpo": [0.0, 1.0]}


@pytest.fixture
def manifests(tmp_path) -> list[Path]:
    return [
        write_metrics(tmp_path, model, [{"step": i + 1, "reward": reward} for i, reward in enumerate(rewards)])
        for model, rewards in REWARDS.items()
    ]


def test_mean_interval_and_range_over_seeds(manifests):
    curves = table(manifests, GROUPS, confidence=0.9)
    assert curves["model"].unique(maintain_order=True).to_list() == list(GROUPS)
    (row,) = curves.filter(model="dapo", step=1).to_dicts()
    values = np.array([0.1, 0.2, 0.6])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected))
    assert row["estimate"] == pytest.approx(0.3)
    assert (row["lowest"], row["highest"], row["n_seeds"]) == (0.1, 0.6, 3)


def test_one_seed_has_no_interval(manifests):
    alone = table(manifests, GROUPS, confidence=0.95).filter(model="grpo")
    assert alone["ci_low"].to_list() == alone["ci_high"].to_list() == [None, None]
    assert alone["estimate"].to_list() == alone["lowest"].to_list() == [0.0, 1.0]


def test_steps_at_which_a_metric_was_not_reported_have_no_row_of_it(tmp_path):
    reports = {
        "a-s1": [{"step": 0, "heldout_accuracy": 0.25}, {"step": 1, "reward": 1.0, "kl_old": None}],
        "a-s2": [{"step": 0, "heldout_accuracy": 0.75}, {"step": 1, "reward": 0.0, "kl_old": 0.5}],
    }
    manifests = [write_metrics(tmp_path, model, rows) for model, rows in reports.items()]
    curves = table(manifests, {"a": {1: "a-s1", 2: "a-s2"}}, confidence=0.95)
    found = {(row["metric"], row["step"]): (row["estimate"], row["n_seeds"]) for row in curves.to_dicts()}
    assert found == {("heldout_accuracy", 0): (0.5, 2), ("kl_old", 1): (0.5, 1), ("reward", 1): (0.5, 2)}


@pytest.mark.parametrize("rows", [None, [], [{"step": 1}]])
def test_a_folder_without_a_report_is_refused(tmp_path, rows):
    manifest = write_metrics(tmp_path, "grpo", rows or [])
    if rows is None:
        manifest.with_name("metrics.jsonl").unlink()
    with pytest.raises(StudyError, match=r"grpo.* holds no metrics.*let Snakemake train the model again"):
        table([manifest], {"grpo": {0: "grpo"}}, confidence=0.95)
