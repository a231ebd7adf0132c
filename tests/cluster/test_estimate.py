"""What a study is said to cost."""

import pytest

from checkouts import ROOT
from tokenshift.cluster.estimate import Cost, estimate, known_sizes, table
from tokenshift.config.loading import load_study
from tokenshift.config.study import Study
from tokenshift.errors import StudyError


def of(study: Study, billions: float | None = 1.5, **sizes: int) -> dict[str, Cost]:
    return {cost.stage: cost for cost in estimate(study, sizes, billions)}


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "config/studies").glob("*.yaml")))
def test_every_study_has_a_cost(name):
    study = load_study(name, ROOT)
    costs = estimate(study, {}, 1.5)
    assert all(cost.hours >= 0 and cost.memory_gb > 0 and cost.disk_gb >= 0 for cost in costs)
    assert "takes" in table(study, costs)


def test_twice_the_samples_cost_twice_the_time():
    study = load_study("one-gpu", ROOT)
    twice = study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"samples": 16})})
    once, doubled = of(study), of(twice)
    for stage in ("rollouts", "scores", "cross-samples"):
        assert doubled[stage].hours == pytest.approx(2 * once[stage].hours)
        assert doubled[stage].disk_gb == pytest.approx(2 * once[stage].disk_gb)
    assert doubled["training"] == once["training"]


def test_scores_of_a_7b_pair_take_what_was_measured():
    """An H200 scored 8 x 1,024 positions of a 7.6 B pair in about a second."""
    study = load_study("olmo3-rl-zero", ROOT)
    seconds = of(study)["scores"].hours * 3600
    positions = 2 * (500 + 500) * 16 * 0.4 * 12000
    assert 8192 / (positions / seconds) == pytest.approx(1, rel=0.6)


def test_known_sizes_count():
    study = load_study("olmo3-rl-zero", ROOT)
    assert of(study, aime24=30, math500=500)["rollouts"].hours < of(study)["rollouts"].hours
    assert known_sizes(study, ROOT / "results") in ({}, {"aime24": 30, "math500": 500})


def test_a_model_of_unknown_size_is_told():
    with pytest.raises(StudyError, match=r"models\.base: how large it is is not known; give `billions`"):
        of(load_study("one-gpu", ROOT), billions=None)
