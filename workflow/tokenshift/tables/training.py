"""What training buys: accuracy and length of every model, over seeds (arXiv 2603.22446, analysis 4)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.errors import StudyError
from tokenshift.statistics import Bootstrap, Resampled, average
from tokenshift.tables.cells import mean, measure, share, table_rows
from tokenshift.tables.files import names, read_responses

Group = dict[int, Resampled]  # by seed; the cells are accuracy and length


def measure_groups(
    rollouts: Sequence[Path], groups: dict[str, dict[str, str]], bootstrap: Bootstrap
) -> dict[str, dict[str, Group]]:
    """Accuracy and length of each seed's model: set -> group -> seed -> two cells.

    `groups` names the model of each group and seed. Groups without rollouts on a set are left out. Raises StudyError
    when only some seeds of a group have them.
    """
    cells = [share({}, pl.col("correct")), mean({}, pl.col("tokens"))]
    measured: dict[str, dict[str, Resampled]] = {}
    for path in rollouts:
        named = names("rollouts", path)
        responses = read_responses("rollouts", path, {})
        measured.setdefault(named["set"], {})[named["model"]] = measure(responses.lazy(), cells, bootstrap)
    by_set: dict[str, dict[str, Group]] = {}
    for problem_set, models in measured.items():
        by_set[problem_set] = {}
        for group, seeds in groups.items():
            missing = [model for model in seeds.values() if model not in models]
            if not missing:
                by_set[problem_set][group] = {int(seed): models[model] for seed, model in seeds.items()}
            elif len(missing) < len(seeds):
                raise StudyError(
                    f"no rollouts of {', '.join(missing)} on '{problem_set}', but of other seeds; give them all"
                )
    return by_set


def over_seeds(group: Group) -> Resampled:
    """Mean over seeds, each resample of problems shared by all of them.

    Its interval is about problems, for these very training runs; how far runs differ shows in the rows per seed.
    """
    return average(list(group.values()))


def minus_baseline(group: Group, baseline: Group) -> Group:
    """Differences to the baseline, seed by seed. Raises StudyError when the seeds differ."""
    if set(group) != set(baseline):
        raise StudyError(
            f"compared models need the baseline's seeds: one has {sorted(group)}, the baseline {sorted(baseline)}"
        )
    return {seed: measured - baseline[seed] for seed, measured in group.items()}


def quantities(group: str, groups: dict[str, Group], training: dict) -> dict[str, Group]:
    """What is reported of a group: for every seed one cell of each quantity."""
    measured = groups[group]
    accuracy = {seed: cells[:1] for seed, cells in measured.items()}
    result = {"accuracy": accuracy, "length": {seed: cells[1:] for seed, cells in measured.items()}}
    base = training["base_of"].get(group)
    if base in groups:
        base_accuracy = over_seeds(groups[base])[:1]
        result["accuracy_minus_base"] = {seed: cell - base_accuracy for seed, cell in accuracy.items()}
    if group in training["compared"] and training["baseline"] in groups:
        baseline = {seed: cells[:1] for seed, cells in groups[training["baseline"]].items()}
        result["accuracy_minus_baseline"] = minus_baseline(accuracy, baseline)
    return result


def table(rollouts: Sequence[Path], training: dict, analysis: dict) -> pl.DataFrame:
    """Rows of training.csv; `model` is the group, and seed is null for the mean over its seeds.

    training: groups (group -> seed -> model), base_of (group -> group it was trained from), compared (groups) and the
    baseline (a group, or null) that they are compared with.
    """
    bootstrap = Bootstrap(**analysis["bootstrap"])
    tables = []
    for problem_set, groups in measure_groups(rollouts, training["groups"], bootstrap).items():
        for group in groups:
            for quantity, by_seed in quantities(group, groups, training).items():
                for seed, resampled in [*by_seed.items(), (None, over_seeds(by_seed))]:
                    keys = {"model": group, "set": problem_set, "seed": seed, "quantity": quantity}
                    tables.append(table_rows({}, [keys], resampled, bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
