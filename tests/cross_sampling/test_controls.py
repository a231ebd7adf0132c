import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenshift.cross_sampling.controls import PROFILE_BINS, budgets, calibrated, probabilities
from tokenshift.cross_sampling.positions import index_edges
from tokenshift.errors import StudyError
from tokenshift.registries.controls import CONTROLS

POSITIONS = 40
THRESHOLDS = [np.inf, 0.2, 0.1, -np.inf]
SWITCHED = {np.inf: 0.0, 0.2: 0.1, 0.1: 0.3, -np.inf: 1.0}


def sweep(replaces: float, seed: int = 0, early: float = 1.0, responses: int = 400) -> pl.DataFrame:
    """Responses that switch more, by the factor `early`, in their first half; a switch replaces at that rate."""
    random = np.random.default_rng(seed)
    rows = []
    for threshold in THRESHOLDS:
        for _ in range(responses):
            length = int(random.integers(5, POSITIONS + 1))
            rate = np.where(np.arange(length) < POSITIONS / 2, early, 1.0) * SWITCHED[threshold]
            switched = random.random(length) < rate
            replaced = switched & (random.random(length) < replaces)
            rows.append({"threshold": threshold, "switched": switched.tolist(), "replaced": replaced.tolist()})
    return pl.DataFrame(rows)


@pytest.mark.parametrize("control", CONTROLS)
def test_ends_switch_nowhere_and_everywhere(control):
    spent = budgets(sweep(0.5), POSITIONS)
    found = probabilities(CONTROLS[control], spent, spent, POSITIONS)
    assert list(found) == THRESHOLDS
    assert (found[np.inf] == 0).all()
    assert (found[-np.inf] == 1).all()


def test_random_has_the_switched_share():
    js = sweep(0.8)
    found = probabilities(CONTROLS["random"], budgets(js, POSITIONS), None, POSITIONS)
    for threshold in (0.2, 0.1):
        switched = js.filter(threshold=threshold)["switched"].explode()
        np.testing.assert_allclose(found[threshold], switched.mean())


def test_position_controls_have_the_profile():
    js = sweep(0.8, early=3.0)
    found = probabilities(CONTROLS["random_position"], budgets(js, POSITIONS), None, POSITIONS)[0.1]
    assert found[: POSITIONS // 4].mean() == pytest.approx(0.9, abs=0.05)
    assert found[-POSITIONS // 4 :].mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("by_position", ["", "_position"])
def test_effective_controls_switch_as_often_as_replaces_as_much(by_position):
    """Where random switches replace a fifth as often as those of js, five times as many are needed, and at most all."""
    js, pilot = budgets(sweep(0.5), POSITIONS), budgets(sweep(0.1, seed=1), POSITIONS)
    found = probabilities(CONTROLS[f"random_effective{by_position}"], js, pilot, POSITIONS)
    assert found[0.2].mean() == pytest.approx(0.5, abs=0.08)
    assert found[0.1].mean() == pytest.approx(1.0, abs=0.05)


def test_a_pilot_of_another_sweep_is_refused():
    js = budgets(sweep(0.5), POSITIONS)
    other = budgets(sweep(0.5).filter(pl.col("threshold") != 0.1), POSITIONS)
    with pytest.raises(StudyError, match="has other thresholds than the js run"):
        probabilities(CONTROLS["random_effective"], js, other, POSITIONS)


@given(st.integers(1, 30_000))
@settings(deadline=None)
def test_bins_cover_every_position_once(positions):
    edges = index_edges(positions, PROFILE_BINS)
    assert (edges[0], edges[-1]) == (0, positions)
    assert (np.diff(edges) > 0).all()


def test_calibration_inverts_the_pilots_curve():
    switched, replaced = [0.0, 0.2, 0.5, 1.0], [0.0, 0.02, 0.05, 0.1]
    np.testing.assert_allclose(calibrated([0.0, 0.01, 0.05, 0.3], switched, replaced), [0.0, 0.1, 0.5, 1.0])
