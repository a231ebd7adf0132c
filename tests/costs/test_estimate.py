"""What a study is said to cost."""

import dataclasses

import pytest

from checkouts import ROOT
from tokenshift.config.loading import load_study
from tokenshift.config.study import Study
from tokenshift.costs.estimate import Cost, estimate, table
from tokenshift.costs.known import Known, known_problems, measured_hours, pieces
from tokenshift.costs.rates import H200, cpu_rates, measured_products
from tokenshift.errors import StudyError

CPU = cpu_rates(2e11)


def of(study: Study, billions: float | None = 1.5, length: float | None = None, **sizes: int) -> dict[str, Cost]:
    rates = H200 if study.compute.device == "cuda" else CPU
    return {cost.stage: cost for cost in estimate(study, Known(sizes, {}, billions, length), rates)}


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "config/studies").glob("*.yaml")))
def test_every_study_has_a_cost(name):
    study = load_study(name, ROOT)
    costs = list(of(study).values())
    assert all(cost.hours >= 0 and cost.memory_gb > 0 and cost.disk_gb >= 0 for cost in costs)
    assert "takes" in table(study, costs, Known({}, {}), {})


def test_twice_the_samples_cost_twice_the_time():
    study = load_study("one-gpu", ROOT)
    evaluations = [study.evaluation.model_copy(update={"samples": samples}) for samples in (16, 32)]
    studies = [study.model_copy(update={"evaluation": evaluation}) for evaluation in evaluations]
    at_once = dataclasses.replace(H200, start=0.0)
    once, doubled = (estimate(each, Known({}, {}, 1.5), at_once) for each in studies)
    for before, after in zip(once, doubled, strict=True):
        factor = 1 if before.stage == "training" else 2
        assert after.hours == pytest.approx(factor * before.hours, rel=0.1)  # a prompt is computed once
        assert before.stage == "training" or after.disk_gb == pytest.approx(2 * before.disk_gb)


def test_what_is_measured_takes_the_place_of_what_is_assumed():
    study = load_study("smollm2", ROOT)
    assumed, longer = of(study), of(study, length=48.0)
    for stage in ("training", "rollouts", "scores", "checkpoint scores", "cross-samples"):
        assert assumed[stage].hours < longer[stage].hours < 2.6 * assumed[stage].hours
    slower = estimate(study, Known({}, {}, 1.5), cpu_rates(1e11))
    assert [cost.hours / assumed[cost.stage].hours for cost in slower] == pytest.approx([1.8] * len(slower), rel=0.12)


def test_fewer_samples_of_a_sweep_and_prompts_computed_once_cost_less():
    study = load_study("smollm2", ROOT)
    all_samples = study.model_copy(update={"cross_sampling": study.cross_sampling.model_copy(update={"samples": None})})
    apart = study.model_copy(update={"scoring": study.scoring.model_copy(update={"batch_tokens": 16384})})
    assert of(all_samples)["cross-samples"].hours > 1.8 * of(study)["cross-samples"].hours
    assert of(apart)["scores"].hours > 2 * of(study)["scores"].hours


def test_scores_of_a_7b_pair_take_what_was_measured():
    """An H200 scored 8 x 1,024 positions of a 7.6 B pair in about a second."""
    study = load_study("olmo3-rl-zero", ROOT)
    seconds = of(study)["scores"].hours * 3600
    positions = 2 * (500 + 500) * 16 * 0.4 * 12000
    assert 8192 / (positions / seconds) == pytest.approx(1, rel=0.6)


def test_known_sizes_count():
    study = load_study("olmo3-rl-zero", ROOT)
    assert of(study, aime24=30, math500=500)["rollouts"].hours < of(study)["rollouts"].hours
    sizes, _ = known_problems(study, ROOT / "results")
    assert sizes in ({}, {"aime24": 30, "math500": 500})


def test_problems_at_hand_are_measured(tmp_path):
    study = load_study("smollm2", ROOT)
    sizes, tokens = known_problems(study, tmp_path)
    assert (sizes, tokens) == ({}, {"heldout": 5.0, "train": 5.0})  # such as 1 + 2 + 3
    assert pieces("Adding 42 gives 7,\nso \\boxed{7}.") == 14


def test_what_stages_took_is_read_from_their_benchmarks(tmp_path):
    assert measured_hours(tmp_path) is None
    for name, seconds in (("a", 1800.0), ("b/c", 5400.0)):
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"s\th:m:s\tcpu_time\n{seconds}\t-\t1.0\n")
    assert measured_hours(tmp_path) == 2.0
    study = load_study("smollm2", ROOT)
    costs = list(of(study).values())
    said = table(study, costs, Known({}, {}), {"rollouts": 0.37})
    assert [line.split()[3] for line in said.splitlines() if line.startswith("rollouts")] == ["0.37"]


def test_the_rate_of_this_machine_is_measured():
    assert 1e9 < measured_products("float32") < 1e13


def test_a_model_of_unknown_size_is_told():
    with pytest.raises(StudyError, match=r"models\.base: how large it is is not known; give `billions`"):
        of(load_study("one-gpu", ROOT), billions=None)
