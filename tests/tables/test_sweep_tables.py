"""Tables of cross-sampling sweeps, on files whose numbers are known and against direct numpy."""

import itertools
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tables.examples import analysis, write, write_cross_samples, write_random_sweep
from tokenshift.artifacts import read_parquet
from tokenshift.config.analysis import Bootstrap
from tokenshift.errors import StudyError
from tokenshift.schemas import CROSS_SAMPLES
from tokenshift.tables import cross_sampling, recovered_gain, replacement_positions
from tokenshift.tables.statistics import problem_weights, summarise
from tokenshift.tables.sweep import Sweep, sweep

SETTINGS = analysis()
BOOTSTRAP = SETTINGS.bootstrap
INF = math.inf
FORWARD = {INF: (0.2, 0, 0), 0.3: (0.4, 4, 1), 0.1: (0.6, 8, 2), -INF: (0.7, 20, 5)}
RANDOM = {INF: (0.2, 0, 0), 0.3: (0.2, 4, 0), 0.1: (0.3, 8, 1), -INF: (0.7, 20, 5)}
THRESHOLDS = [INF, 0.4, 0.1, 0.0, -INF]


def value(table: pl.DataFrame, **keys) -> float:
    """The estimate of the one row with these keys."""
    return table.filter(*(pl.col(name).eq_missing(key) for name, key in keys.items()))["estimate"].item()


def test_cross_sampling(tmp_path):
    runs = {"forward-js": FORWARD, "forward-random": RANDOM, "forward-random_effective": RANDOM, "forward-kl": FORWARD}
    paths = [write_cross_samples(tmp_path, steps, run=run) for run, steps in runs.items()]
    table = cross_sampling.table(paths, SETTINGS.bootstrap)
    assert table.columns[:7] == ["pair", "set", "direction", "criterion", "budget", "threshold", "quantity"]
    js = table.filter(criterion="js")
    assert js.select("budget", "threshold").unique(maintain_order=True).rows() == list(enumerate([INF, 0.3, 0.1, -INF]))
    for threshold, (accuracy, switched, replaced) in FORWARD.items():
        at = js.filter(threshold=threshold)
        expected = {
            "accuracy": accuracy + 0.05,
            "pass_at_1": accuracy + 0.05,
            "pass_at_10": 1,
            "switched_share": switched / 20,
            "effective_share": replaced / 20,
            "effective_count": replaced,
            "length": 20,
            "near_ties_per_1000_tokens": 25,
            "accuracy_minus_primary": accuracy - 0.2,
            "accuracy_minus_random": accuracy - RANDOM[threshold][0],
            "accuracy_minus_random_effective": accuracy - RANDOM[threshold][0],
        }
        assert {quantity: value(at, quantity=quantity) for quantity in expected} == pytest.approx(expected)
        assert set(at["n_tokens"]) == {6 * 10 * 20}
    # 1 of 20 tokens is where the control has 0.3, 2 where it is a quarter of the way from 1 to 5.
    equal = js.filter(quantity="accuracy_minus_random_at_equal_share")["estimate"].to_list()
    assert equal == pytest.approx([0, 0.4 - 0.3, 0.6 - 0.4, 0])
    said = {criterion: set(table.filter(criterion=criterion)["quantity"]) for criterion in ("js", "kl", "random")}
    assert said["js"] - said["kl"] == {"accuracy_minus_random", "accuracy_minus_random_effective"}
    assert not any(quantity.startswith("accuracy_minus_random") for quantity in said["random"])


def test_every_quantity_against_numpy(tmp_path):
    path = write_random_sweep(tmp_path, seed=1, thresholds=THRESHOLDS)
    table, frame = cross_sampling.table([path], SETTINGS.bootstrap), read_parquet(path, CROSS_SAMPLES)
    for threshold in THRESHOLDS:
        rows = frame.filter(threshold=threshold)
        switched, replaced = (np.concatenate(rows[column].to_list()) for column in ("switched", "replaced"))
        by_problem = [part["correct"].to_list() for part in rows.partition_by("problem_id")]
        pairs = [np.mean([a or b for a, b in itertools.combinations(correct, 2)]) for correct in by_problem]
        expected = {
            "accuracy": rows["correct"].mean(),
            "pass_at_1": rows["correct"].mean(),
            "pass_at_2": np.mean(pairs),
            "pass_at_4": np.mean([any(correct) for correct in by_problem]),
            "switched_share": switched.mean(),
            "effective_share": replaced.mean(),
            "effective_count": replaced.sum() / len(rows),
            "length": len(switched) / len(rows),
            "near_ties_per_1000_tokens": 1000 * rows["near_ties"].sum() / len(switched),
        }
        at = table.filter(threshold=threshold)
        assert {quantity: value(at, quantity=quantity) for quantity in expected} == pytest.approx(expected)


def test_intervals_are_those_of_resampled_problems(tmp_path):
    path = write_random_sweep(tmp_path, seed=2, thresholds=THRESHOLDS)
    measured, frame = sweep(path, BOOTSTRAP), read_parquet(path, CROSS_SAMPLES)
    weights = problem_weights(BOOTSTRAP, 5)
    for step, threshold in enumerate(THRESHOLDS):
        parts = frame.filter(threshold=threshold).partition_by("problem_id")
        replaced = np.array([part["replaced"].list.sum().sum() for part in parts])
        tokens = np.array([part["switched"].list.len().sum() for part in parts])
        draws = [(row * replaced).sum() / (row * tokens).sum() for row in weights]
        assert measured.effective_share.draws[:, step] == pytest.approx(draws)


def test_no_more_than_one_pass_at_k_where_the_samples_are_a_power_of_two():
    assert cross_sampling.sizes(8) == [1, 2, 4, 8]
    assert cross_sampling.sizes(6) == [1, 2, 4, 6]
    assert cross_sampling.sizes(1) == [1]


def test_paired_intervals_cover_and_are_tighter_than_unpaired_ones():
    """Of 300 simulated sweeps over 40 problems, about 95 % of the intervals hold the true difference."""
    generator, bootstrap = np.random.default_rng(5), Bootstrap(replicates=400, confidence=0.95, seed=0)
    ids = tuple(f"p{problem:02}" for problem in range(40))
    covered, widths = [], []
    for _ in range(300):
        # Common random numbers: a response is right where its uniform is below the chance, by 0.1 higher at -inf.
        chance, uniform = 0.8 * generator.random((40, 1, 1)), generator.random((40, 1, 8))
        correct = (uniform < chance + np.array([0, 0.1])[:, None]).astype(int)
        measured = Sweep(Path(), [INF, -INF], ids, {"correct": correct, "tokens": np.ones_like(correct)}, bootstrap)
        difference, single = (summarise(bootstrap, cells) for cells in (measured.gap, measured.accuracy))
        covered.append(difference.ci_low[0] <= 0.1 <= difference.ci_high[0])
        widths.append((difference.ci_high[0] - difference.ci_low[0], single.ci_high[0] - single.ci_low[0]))
    assert 0.91 <= np.mean(covered) <= 0.98
    paired, unpaired = np.mean(widths, axis=0)
    assert paired < 0.6 * unpaired


def test_the_primarys_gain_is_nothing_and_the_interventions_all_of_it_in_every_resample(tmp_path):
    table = recovered_gain.table([write_cross_samples(tmp_path, FORWARD)], SETTINGS.bootstrap).filter(
        quantity="recovered_gain"
    )
    assert table["estimate"].to_list() == pytest.approx([0, 0.4, 0.8, 1])
    assert table.row(0)[-5:-2] == pytest.approx((0, 0, 0))
    assert table.row(-1)[-5:-2] == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("gap_is_0", [True, False])
def test_a_gap_whose_interval_reaches_0_leaves_the_recovered_gain_undefined(tmp_path, gap_is_0):
    path = write_cross_samples(tmp_path, {INF: (0.5, 0, 0), 0.1: (0.6, 8, 2), -INF: (0.5, 20, 5)})
    if not gap_is_0:
        # The intervention alone solves half of the problems always, the others never.
        solved = pl.when(pl.col("threshold") == -INF).then(pl.col("problem_id") > "p02").otherwise("correct")
        write(path, read_parquet(path, CROSS_SAMPLES).with_columns(correct=solved), CROSS_SAMPLES)
    table = recovered_gain.table([path], SETTINGS.bootstrap)
    gap = table.filter(quantity="gap").row(0, named=True)
    assert gap["ci_low"] <= 0 <= gap["ci_high"]
    assert (gap["estimate"] == 0) == gap_is_0
    undefined = pl.col("quantity").str.starts_with("sufficient") | (pl.col("quantity") == "recovered_gain")
    assert table.filter(undefined)["estimate"].is_null().all()
    assert table.filter(quantity="effective_count")["estimate"].is_not_null().all()


@pytest.mark.parametrize(("direction", "sign"), [("forward", 1), ("reverse", -1)])
def test_the_smallest_sufficient_budget_is_the_first_whose_interval_reaches_the_intervention(tmp_path, direction, sign):
    middle = {INF: -0.3, 0.3: -0.2, 0.2: 0.2, 0.1: 0.3, -INF: 0.3}
    replaced = dict(zip(middle, (0, 1, 2, 3, 5), strict=True))
    steps = {threshold: (0.45 + sign * rise, 4, replaced[threshold]) for threshold, rise in middle.items()}
    table = recovered_gain.table([write_cross_samples(tmp_path, steps, run=f"{direction}-js")], SETTINGS.bootstrap)

    def row(quantity):
        return table.filter(quantity=quantity).row(0, named=True)

    # Accuracies vary by 0.1 over problems, so the interval at 0.2 does not reach 0.1 further, nor does the paired one.
    assert (row("sufficient_share")["threshold"], row("sufficient_share")["estimate"]) == (0.1, pytest.approx(3 / 20))
    assert (row("sufficient_count_paired")["budget"], row("sufficient_count_paired")["estimate"]) == (3, 3)
    assert row("sufficient_count_paired")["n_problems"] == 6


def test_a_budget_that_is_never_sufficient_is_null(tmp_path):
    steps = {INF: (0.1, 0, 0), 0.3: (0.2, 4, 1), -INF: (0.8, 20, 5)}
    table = recovered_gain.table([write_cross_samples(tmp_path, steps)], SETTINGS.bootstrap)
    sufficient = table.filter(pl.col("quantity").str.starts_with("sufficient"))
    assert len(sufficient) == 4
    assert sufficient.select("budget", "threshold", "estimate", "ci_low").null_count().row(0) == (4, 4, 4, 4)


def test_a_paired_interval_reaches_no_earlier(tmp_path):
    for seed in range(20):
        path = write_random_sweep(tmp_path / str(seed), seed=seed, thresholds=THRESHOLDS, problems=12)
        measured = sweep(path, BOOTSTRAP)
        for index in recovered_gain.reaching(measured, paired=True):
            difference = summarise(BOOTSTRAP, measured.accuracy - measured.accuracy[-1:])
            rises = measured.gap.draws[0, 0] > 0
            assert difference.ci_high[index] >= 0 if rises else difference.ci_low[index] <= 0


def test_a_sweep_needs_both_ends(tmp_path):
    path = write_cross_samples(tmp_path, {INF: (0.2, 0, 0), 0.1: (0.6, 8, 2)})
    with pytest.raises(StudyError, match="thresholds inf and -inf"):
        cross_sampling.table([path], SETTINGS.bootstrap)


def test_a_sweep_needs_the_same_samples_everywhere(tmp_path):
    path = write_cross_samples(tmp_path, FORWARD)
    rows = read_parquet(path, CROSS_SAMPLES)
    for broken in (rows[:-1], rows.with_columns(sample=pl.lit(0, pl.Int32))):
        write(path, broken, CROSS_SAMPLES)
        with pytest.raises(StudyError, match="not the same samples of every problem at every threshold"):
            sweep(path, BOOTSTRAP)


def test_a_random_control_of_other_thresholds_is_refused(tmp_path):
    others = {INF: (0.2, 0, 0), 0.2: (0.2, 4, 0), -INF: (0.7, 20, 5)}
    paths = [write_cross_samples(tmp_path, FORWARD), write_cross_samples(tmp_path, others, run="forward-random")]
    with pytest.raises(StudyError, match="other thresholds"):
        cross_sampling.table(paths, SETTINGS.bootstrap)


def test_positions_against_numpy(tmp_path):
    settings = analysis(position_bins=7)
    path = write_random_sweep(tmp_path, seed=3, thresholds=THRESHOLDS)
    table, frame = replacement_positions.table([path], 0.1, settings), read_parquet(path, CROSS_SAMPLES)
    assert table["threshold"].unique(maintain_order=True).to_list() == THRESHOLDS[1:-1]
    for row in table.iter_rows(named=True):
        lists = frame.filter(threshold=row["threshold"])
        marks = lists["switched" if row["quantity"] == "switched_share" else "replaced"].to_list()
        if row["origin"] == "start":
            cut = [mark[int(row["bin_low"]) : int(row["bin_high"])] for mark in marks]
            assert row["n_tokens"] == sum(map(len, cut))
            assert row["estimate"] == pytest.approx(np.concatenate(cut).mean())
        else:
            # Each token spread over a fine grid of the response.
            spread = [np.repeat(mark, 7) for mark in marks]
            part = round(7 * row["bin_low"])
            inside = [mark[part * len(mark) // 7 : (part + 1) * len(mark) // 7] for mark in spread]
            assert row["estimate"] == pytest.approx(np.concatenate(inside).mean())
    assert (table["ci_low"] <= table["ci_high"]).all()


def test_positions_mark_the_step_that_the_claims_judge(tmp_path):
    paths = [write_cross_samples(tmp_path, FORWARD), write_cross_samples(tmp_path, RANDOM, run="forward-random")]
    for budget, threshold in ((0.1, 0.1), (0.05, 0.3), (0.01, 0.3)):
        table = replacement_positions.table(paths, budget, SETTINGS)
        marked = table.filter("at_budget").select("criterion", "threshold").unique(maintain_order=True)
        assert marked.rows() == [("js", threshold), ("random", threshold)]


def test_positions_are_the_same_in_shards_and_however_many_are_read_at_once(tmp_path, monkeypatch):
    path = write_random_sweep(tmp_path, seed=4, thresholds=THRESHOLDS)
    whole, rows = replacement_positions.table([path], 0.1, SETTINGS), read_parquet(path, CROSS_SAMPLES)
    folder = tmp_path / "sharded" / "dapo" / "heldout" / "forward-js.parquet"
    for shard, part in enumerate((rows[:31], rows[31:])):
        write(folder / f"{shard}.parquet", part, CROSS_SAMPLES)
    monkeypatch.setattr(replacement_positions, "RESPONSES_AT_ONCE", 7)
    assert replacement_positions.table([folder], 0.1, SETTINGS).equals(whole)
    assert cross_sampling.table([folder], SETTINGS.bootstrap).equals(cross_sampling.table([path], SETTINGS.bootstrap))
