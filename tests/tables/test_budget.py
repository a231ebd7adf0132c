"""The optimal budget against brute force and a second solver, and what it refuses."""

import itertools
import subprocess
import sys

import numpy as np
import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, sparse

from tokenshift.errors import StudyError
from tokenshift.tables.budget import best_choice, best_single, run_cbc, undominated


@st.composite
def instances(draw) -> tuple[np.ndarray, np.ndarray, int]:
    """Values, costs and a budget that the cheapest choice is within; few problems, thresholds and distinct numbers."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    value, cost = (draw(arrays(np.int64, shape, elements=st.integers(0, 4))) for _ in range(2))
    cheapest = int(cost.min(axis=1).sum())
    return value, cost, draw(st.integers(cheapest, cheapest + 8))


def totals(value: np.ndarray, cost: np.ndarray, choice: np.ndarray) -> tuple[int, int]:
    problems = np.arange(len(value))
    return int(value[problems, choice].sum()), int(cost[problems, choice].sum())


def every_choice(value: np.ndarray, cost: np.ndarray, budget: int) -> list[tuple[int, int]]:
    """Value and cost of every choice within the budget."""
    choices = itertools.product(range(value.shape[1]), repeat=len(value))
    found = [totals(value, cost, np.array(choice)) for choice in choices]
    return [(worth, price) for worth, price in found if price <= budget]


@settings(max_examples=150, deadline=None)
@given(instances())
def test_no_choice_is_better_and_none_as_good_is_cheaper(instance):
    value, cost, _ = instance
    worth, price = totals(value, cost, best_choice(*instance))
    assert (worth, -price) == max((worth, -price) for worth, price in every_choice(*instance))


@settings(max_examples=150, deadline=None)
@given(instances())
def test_one_threshold_for_all_is_the_best_within_the_budget(instance):
    value, cost, budget = instance
    within = [(value[:, t].sum(), -cost[:, t].sum(), -t) for t in range(value.shape[1]) if cost[:, t].sum() <= budget]
    if within:
        assert best_single(*instance) == -max(within)[2]
    else:
        with pytest.raises(StudyError, match="below the cheapest choice"):
            best_single(*instance)


@settings(max_examples=100, deadline=None)
@given(instances())
def test_what_is_dominated_is_never_missed(instance):
    value, cost, _ = instance
    kept = undominated(value, cost)
    assert kept.any(axis=1).all()
    for problem, threshold in np.argwhere(~kept):
        others = kept[problem] & (value[problem] >= value[problem, threshold])
        assert (cost[problem][others] <= cost[problem, threshold]).any()


def milp_value(value: np.ndarray, cost: np.ndarray, budget: int) -> int:
    """The highest total value, by SciPy's milp (HiGHS), of the plain program with every threshold of every problem."""
    problems, thresholds = value.shape
    one_each = sparse.kron(sparse.eye(problems), np.ones(thresholds))
    limits = [optimize.LinearConstraint(one_each, 1, 1), optimize.LinearConstraint(cost.ravel(), -np.inf, budget)]
    solved = optimize.milp(
        -value.ravel(), constraints=limits, integrality=np.ones(value.size), bounds=(0, 1), options={"mip_rel_gap": 0}
    )
    return round(-solved.fun)


@pytest.mark.parametrize(("problems", "samples", "dearest"), [(30, 16, 3000), (64, 4, 10), (60, 16, 300)])
def test_a_second_solver_finds_no_better(problems, samples, dearest):
    generator = np.random.default_rng(problems)
    cost = np.sort(generator.integers(0, dearest, (problems, 8)), axis=1)
    chance = np.clip(generator.random((problems, 1)) / 3 + np.linspace(0, 0.6, 8), 0, 1)
    value = generator.binomial(samples, chance)
    for share in (0.05, 0.2, 0.5):
        budget = int(cost.min(axis=1).sum() + share * cost.max(axis=1).sum())
        worth, price = totals(value, cost, best_choice(value, cost, budget))
        assert price <= budget
        assert worth == milp_value(value, cost, budget)


def test_among_interchangeable_problems_the_first_take_the_least():
    value, cost = np.tile([0, 1, 1], (4, 1)), np.tile([0, 3, 3], (4, 1))
    assert best_choice(value, cost, 7).tolist() == [0, 0, 1, 1]


def test_a_budget_below_the_cheapest_choice_is_refused_in_one_line():
    value, cost = np.array([[0, 1], [0, 2]]), np.array([[2, 5], [1, 4]])
    for choose in (best_choice, best_single):
        with pytest.raises(StudyError, match="a budget of 2 replaced tokens is below the cheapest choice, 3") as raised:
            choose(value, cost, 2)
        assert "\n" not in str(raised.value)
    assert best_choice(value, cost, 3).tolist() == [0, 0]


def test_an_infeasible_program_is_one_line_and_cbc_says_nothing(capfd):
    program = pulp.LpProblem("impossible", pulp.LpMaximize)
    x = program.add_variable("x", cat=pulp.LpBinary)
    program += x
    program += x >= 1
    program += 2 * x <= 1
    with pytest.raises(StudyError, match=r"CBC found no optimal choice of thresholds \(infeasible\)") as raised:
        run_cbc(program)
    assert "\n" not in str(raised.value)
    best_choice(np.array([[0, 1]]), np.array([[0, 1]]), 1)
    assert capfd.readouterr() == ("", "")


def test_the_choice_is_the_same_in_another_process():
    code = (
        "import numpy as np; from tokenshift.tables.budget import best_choice; g = np.random.default_rng(0);"
        "v, c = g.integers(0, 4, (40, 6)), g.integers(0, 4, (40, 6)); print(best_choice(v, c, 50).tolist())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
