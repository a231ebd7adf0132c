import numpy as np
import polars as pl
import pytest

from tokenshift.cross_sampling.sweeps import criterion_values, sweep_thresholds
from tokenshift.errors import StudyError
from tokenshift.registries.criteria import CRITERIA

SCORES = pl.DataFrame(
    {
        "js": [0.1, 0.3],
        "js_nucleus": [0.0, 0.2],
        "kl_base_tuned": [1.0, np.inf],
        "kl_tuned_base": [3.0, 4.0],
        "entropy_base": [5.0, 6.0],
        "entropy_tuned": [7.0, 8.0],
        "logp_base": [-1.0, -2.0],
        "logp_tuned": [-4.0, -3.0],
    }
).lazy()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_criteria_are_those_of_primary_and_intervention(direction):
    primary, intervention = ("base", "tuned") if direction == "forward" else ("tuned", "base")
    columns = {
        "kl_primary_intervention": f"kl_{primary}_{intervention}",
        "entropy_primary": f"entropy_{primary}",
        "entropy_intervention": f"entropy_{intervention}",
    }
    for criterion, column in columns.items():
        finite = SCORES.filter(pl.col(column).is_finite()).collect()[column].to_list()
        assert criterion_values(SCORES, CRITERIA[criterion], direction).tolist() == finite
    sign = 1 if direction == "forward" else -1
    assert criterion_values(SCORES, CRITERIA["logp_difference"], direction).tolist() == [sign * 3.0, sign * 1.0]


def test_every_criterion_has_values():
    for criterion in CRITERIA.values():
        assert len(criterion_values(SCORES, criterion, "forward")) >= 1


def test_thresholds_lie_between_distinct_observed_values_from_the_largest():
    values = np.array([0.0, 0.0, 0.0, 0.1, 0.2, 0.3])
    found = sweep_thresholds(values, [0.1, 0.4, 0.6, 0.8, 0.99], CRITERIA["js"])
    assert found == pytest.approx([0.3, 0.25, 0.15, 0.05])
    assert [np.mean(values > threshold) for threshold in found] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])


def test_a_threshold_stored_rounded_stays_in_its_range():
    assert sweep_thresholds(np.array([0.693148]), [0.5], CRITERIA["js"]) == [np.log(2)]


def test_no_values_are_refused():
    with pytest.raises(StudyError, match="js: the scores of the primary's responses hold no position"):
        sweep_thresholds(np.array([]), [0.5], CRITERIA["js"])
