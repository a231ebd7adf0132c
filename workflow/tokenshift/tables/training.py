"""What training buys: accuracy and length of every model, over seeds (arXiv 2603.22446, analysis 4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap
from tokenshift.config.specs import TrainingGroups
from tokenshift.errors import StudyError
from tokenshift.tables.cells import mean, measure, share, table_rows
from tokenshift.tables.files import names, read_responses
from tokenshift.tables.statistics import Resampled, average, average_of_seeds, summarise, t_interval

Group = dict[int, Resampled]  # by seed; the cells are accuracy and length


def measure_groups(
    rollouts: Sequence[Path], groups: dict[str, dict[int, str]], bootstrap: Bootstrap
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
                by_set[problem_set][group] = {seed: models[model] for seed, model in seeds.items()}
            elif len(missing) < len(seeds):
                raise StudyError(
                    f"no rollouts of {', '.join(missing)} on '{problem_set}', but of other seeds; give them all"
                )
    return by_set


def over_seeds(group: Group, bootstrap: Bootstrap) -> Resampled:
    """Mean over seeds, with resamples of problems, shared by all seeds, and of the seeds' own variation."""
    return average_of_seeds(list(group.values()), bootstrap)


def minus_baseline(group: Group, baseline: Group) -> Group:
    """Differences to the baseline, seed by seed. Raises StudyError when the seeds differ."""
    if set(group) != set(baseline):
        raise StudyError(
            f"compared models need the baseline's seeds: one has {sorted(group)}, the baseline {sorted(baseline)}"
        )
    return {seed: measured - baseline[seed] for seed, measured in group.items()}


def quantities(group: str, groups: dict[str, Group], training: TrainingGroups) -> dict[str, Group]:
    """What is reported of a group: for every seed one cell of each quantity."""
    measured = groups[group]
    accuracy = {seed: cells[:1] for seed, cells in measured.items()}
    result = {"accuracy": accuracy, "length": {seed: cells[1:] for seed, cells in measured.items()}}
    base = training.base_of.get(group)
    if base in groups:
        base_accuracy = average(list(groups[base].values()))[:1]
        result["accuracy_minus_base"] = {seed: cell - base_accuracy for seed, cell in accuracy.items()}
    if (name := training.baseline_of.get(group)) in groups:
        baseline = {seed: cells[:1] for seed, cells in groups[name].items()}
        result["accuracy_minus_baseline"] = minus_baseline(accuracy, baseline)
    return result


def rows(by_seed: Group, keys: dict[str, object], bootstrap: Bootstrap) -> pl.DataFrame:
    """Rows of one quantity: a row for each seed, then the mean over seeds, where seed is null.

    ci_low and ci_high cover the variation over problems and, in the row of several seeds, over seeds too. That row also
    says what each part amounts to: problems_low and problems_high for these very runs, whatever others would have
    given; seeds_low and seeds_high, Student's t interval over seeds, for these very problems.
    """
    seeds = [table_rows({}, [keys | {"seed": seed}], measured, bootstrap) for seed, measured in by_seed.items()]
    mean = table_rows({}, [keys | {"seed": None}], over_seeds(by_seed, bootstrap), bootstrap)
    of_problems = summarise(bootstrap, average(list(by_seed.values())))
    of_seeds = t_interval(np.array([measured.draws[0, 0] for measured in by_seed.values()]), bootstrap.confidence)
    limits = {"problems_low": of_problems.ci_low[0], "problems_high": of_problems.ci_high[0]}
    limits |= dict(zip(("seeds_low", "seeds_high"), of_seeds, strict=True))
    mean = mean.with_columns(pl.lit(value, pl.Float64).fill_nan(None).alias(name) for name, value in limits.items())
    return pl.concat([mean.clear(), *seeds, mean], how="diagonal_relaxed")


def table(rollouts: Sequence[Path], training: TrainingGroups, bootstrap: Bootstrap) -> pl.DataFrame:
    """Rows of training.csv; `model` is the group, and seed is null for the mean over its seeds."""
    tables = []
    for problem_set, groups in measure_groups(rollouts, training.groups, bootstrap).items():
        for group in groups:
            for quantity, by_seed in quantities(group, groups, training).items():
                keys = {"model": group, "set": problem_set, "seed": None, "quantity": quantity}
                tables.append(rows(by_seed, keys, bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
