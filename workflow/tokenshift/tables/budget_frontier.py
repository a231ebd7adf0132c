"""What a budget of replaced tokens buys at best: a threshold for each problem against one threshold for all.

Forward, the best is the highest accuracy, in reverse the lowest. A choice made on the responses that it is then judged
by flatters itself: of many noisy accuracies it takes the highest. So the samples are halved at random, the choice is
made on one half and judged on the other, both ways, and that is averaged over several halvings, since one alone adds
its own noise. What is left is a slight pessimism: half of the samples choose worse than all would.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.errors import StudyError
from tokenshift.registries.controls import CONTROLS
from tokenshift.tables.budget import best_choice, best_single
from tokenshift.tables.cells import table_rows
from tokenshift.tables.files import names
from tokenshift.tables.statistics import Resampled, problem_weights
from tokenshift.tables.sweep import Sweep, sweep

# (value, cost, budget) -> index of the threshold for each problem, or of the one for all
Choose = Callable[[np.ndarray, np.ndarray, int], np.ndarray | int]
POLICIES: dict[str, Choose] = {"per_problem": best_choice, "one_threshold": best_single}
JUDGED = {"accuracy": "correct", "effective_count": "effective"}

Fold = tuple[np.ndarray, np.ndarray]  # samples that choose, samples that judge


def budgets(measured: Sweep, points: int) -> list[float]:
    """Effective tokens per response: from the cheapest choice to the threshold that costs most, evenly spaced."""
    cheapest = measured.counts["effective"].mean(axis=2).min(axis=1).mean()
    return np.linspace(cheapest, measured.effective_count.draws[0].max(), points + 1).tolist()


def halvings(samples: int, splits: int, seed: int) -> list[Fold]:
    """Both ways of `splits` random halvings of the samples; none where there is one sample."""
    orders = (np.random.default_rng([seed, split]).permutation(samples) for split in range(splits))
    halves = [(order[: samples // 2], order[samples // 2 :]) for order in orders] if samples > 1 else []
    return [fold for first, second in halves for fold in ((first, second), (second, first))]


def chosen(measured: Sweep, choose: Choose, samples: np.ndarray, budget: float, rises: bool) -> np.ndarray:
    """The threshold of each problem, (problems,), chosen on these samples for a budget of tokens per response."""
    correct, cost = (measured.counts[counted][:, :, samples] for counted in ("correct", "effective"))
    value = (correct if rises else 1 - correct).sum(axis=2)
    # Rounded first: the product can fall short of a whole number by a rounding error.
    whole = int(np.floor(np.round(budget * len(samples) * len(value), 6)))
    index = choose(value, cost.sum(axis=2), whole)
    return np.broadcast_to(index, len(value))


def judged(measured: Sweep, choices: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Per problem, (problems,), accuracy and effective tokens per response; the mean over choices and their judges."""
    problems = np.arange(len(measured.problem_ids))
    values = [
        [measured.counts[counted][problems, choice][:, judges].mean(axis=1) for counted in JUDGED.values()]
        for choice, judges in choices
    ]
    means = np.mean(values, axis=0) if values else np.full((len(JUDGED), len(problems)), np.nan)
    return dict(zip(JUDGED, means, strict=True))


def frontier(
    measured: Sweep, budget: float, folds: Sequence[Fold], rises: bool
) -> dict[tuple[str, str, str], np.ndarray]:
    """Values per problem of every (policy, evaluation, quantity) at one budget."""
    everything = np.arange(measured.samples)
    evaluations = {"cross_fitted": folds, "naive": [(everything, everything)]}
    values = {}
    for policy, choose in POLICIES.items():
        for evaluation, ways in evaluations.items():
            choices = ((chosen(measured, choose, on, budget, rises), judges) for on, judges in ways)
            for quantity, by_problem in judged(measured, choices).items():
                values[policy, evaluation, quantity] = by_problem
    for evaluation in evaluations:
        single = values["one_threshold", evaluation, "accuracy"]
        values["per_problem", evaluation, "accuracy_minus_one_threshold"] = (
            values["per_problem", evaluation, "accuracy"] - single
        )
    for policy in POLICIES:
        honest = values[policy, "cross_fitted", "accuracy"]
        values[policy, "naive", "accuracy_minus_cross_fitted"] = values[policy, "naive", "accuracy"] - honest
    return values


def over_problems(measured: Sweep, values: np.ndarray) -> Resampled:
    """Means over problems of each column of `values` (problems, cells)."""
    return Resampled(
        measured.problem_ids,
        problem_weights(measured.bootstrap, len(values)) @ values / len(values),
        np.full(values.shape[1], len(values)),
        np.full(values.shape[1], measured.counts["tokens"].sum()),
    )


def table(cross_samples: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of budget_frontier.csv, for every rule but the random controls; budget is in effective tokens per response.

    effective_count is what the choices cost where they are judged, which can be more than the budget that they were
    made for. Without a second sample nothing is cross-fitted. Resampled are the problems, with their choices held as
    they were made: the intervals leave out how choices would vary. Raises StudyError when all files are of random
    controls.
    """
    bootstrap = analysis.bootstrap
    of_rules = [path for path in cross_samples if names("cross_samples", path)["criterion"] not in CONTROLS]
    if not of_rules:
        raise StudyError("only random controls are given, of which there is no frontier; give the sweep of a rule too")
    tables = []
    for path in of_rules:
        named = names("cross_samples", path)
        measured = sweep(path, bootstrap)
        folds = halvings(measured.samples, analysis.budget_splits, bootstrap.seed)
        rises = named["direction"] == "forward"
        for budget in budgets(measured, analysis.budget_points):
            values = frontier(measured, budget, folds, rises)
            columns = ("policy", "evaluation", "quantity")
            keys = [{"budget": budget} | dict(zip(columns, key, strict=True)) for key in values]
            tables.append(
                table_rows(named, keys, over_problems(measured, np.column_stack([*values.values()])), bootstrap)
            )
    return pl.concat(tables, how="vertical_relaxed")
