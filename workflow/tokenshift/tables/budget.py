"""The best use of a budget of replaced tokens: one threshold per problem, or one for all.

A multiple-choice knapsack (Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, chapter 11) as an integer linear
program, solved to the optimum by CBC. For problem p and threshold t, value[p, t] is how many of the problem's responses
are as wanted (correct), and cost[p, t] how many of their tokens are effective, which is to say replaced by another;
both are whole numbers, (problems, thresholds), and the budget is the sum of the costs that a choice may have.
"""

from itertools import groupby
from operator import itemgetter

import numpy as np
import pulp

from tokenshift.errors import StudyError


def best_choice(value: np.ndarray, cost: np.ndarray, budget: int) -> np.ndarray:
    """Index of a threshold for each problem, (problems,), of the highest total value within the budget.

    Among equal values the cheapest; among problems with the same values and costs, the first take the thresholds that
    come first. What ties are left fall to CBC, which runs in one thread, without a time limit, and decides the same way
    every time. Raises StudyError when no choice is within the budget.
    """
    check_affordable(int(cost.min(axis=1).sum()), budget)
    kinds, kind = np.unique(np.stack([value, cost], axis=1), axis=0, return_inverse=True)
    options = np.argwhere(undominated(kinds[:, 0], kinds[:, 1]))
    worth, price = kinds[options[:, 0], :, options[:, 1]].T
    sizes = np.bincount(kind)
    best = _solve(options, sizes, pulp.LpMaximize, worth, [(price, "at most", budget)])
    cheapest = [(price, "at most", budget), (worth, "at least", int(worth @ best))]
    best = _solve(options, sizes, pulp.LpMinimize, price, cheapest)
    choice = np.empty(len(value), dtype=np.int64)
    choice[np.argsort(kind, kind="stable")] = np.repeat(options[:, 1], best)
    return choice


def best_single(value: np.ndarray, cost: np.ndarray, budget: int) -> int:
    """Index of the threshold of the highest total value within the budget: the cheapest, then the first of equals.

    Raises StudyError when none is within the budget.
    """
    values, costs = value.sum(axis=0), cost.sum(axis=0)
    check_affordable(int(costs.min()), budget)
    return min(np.flatnonzero(costs <= budget), key=lambda index: (-values[index], costs[index], index))


def check_affordable(cheapest: int, budget: int) -> None:
    """Raise StudyError when the budget is below the cheapest choice."""
    if budget < cheapest:
        raise StudyError(
            f"a budget of {budget} replaced tokens is below the cheapest choice, {cheapest}: give at least that"
        )


def undominated(value: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Which thresholds of a problem are worth choosing: (problems, thresholds).

    The others have one beside them that is worth no less and costs no more, and the first of equals stays.
    """
    worse, better = (slice(None), slice(None), None), (slice(None), None, slice(None))  # (P, T, 1), (P, 1, T)
    no_less = (value[better] >= value[worse]) & (cost[better] <= cost[worse])
    strictly = (value[better] > value[worse]) | (cost[better] < cost[worse])
    first = np.tri(value.shape[1], k=-1, dtype=bool)  # [t, other]: other comes before t
    return ~(no_less & (strictly | first)).any(axis=2)


def _solve(
    options: np.ndarray, sizes: np.ndarray, sense: int, objective: np.ndarray, limits: list[tuple[np.ndarray, str, int]]
) -> np.ndarray:
    """How many problems take each option, (options,), for the best total objective under limits on other totals.

    options: (options, 2), a kind of problem and a threshold, in order. sizes: (kinds,), how many problems are of a
    kind. That interchangeable problems are counted, not told apart, spares CBC all the orders they could come in.
    """
    program = pulp.LpProblem("choice", sense)
    taken = [
        program.add_variable(f"kind_{kind}_threshold_{threshold}", 0, int(sizes[kind]), cat=pulp.LpInteger)
        for kind, threshold in options.tolist()
    ]
    program += _total(objective, taken)
    for kind, of_kind in groupby(zip(options[:, 0].tolist(), taken, strict=True), key=itemgetter(0)):
        program += pulp.lpSum(x for _, x in of_kind) == int(sizes[kind])
    for amounts, side, limit in limits:
        total = _total(amounts, taken)
        program += total <= limit if side == "at most" else total >= limit
    run_cbc(program)
    return np.array([round(x.value()) for x in taken])


def _total(amounts: np.ndarray, taken: list[pulp.LpVariable]) -> pulp.LpAffineExpression:
    return pulp.LpAffineExpression(zip(taken, amounts.tolist(), strict=True))


def run_cbc(program: pulp.LpProblem) -> None:
    """Solve to the optimum, in silence. Raises StudyError when CBC finds none, as of constraints that contradict."""
    # Without its option `threads`: given 1, CBC can sit out a wait of ten seconds between its threads.
    status = program.solve(pulp.PULP_CBC_CMD(msg=False, gapRel=0, gapAbs=0))
    if status != pulp.LpStatusOptimal:
        raise StudyError(
            f"CBC found no optimal choice of thresholds ({pulp.LpStatus[status].lower()}): check the budget and the "
            f"costs that it is held against"
        )
