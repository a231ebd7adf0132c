"""The claims of arXiv 2603.22446 judged: each measurement with its interval, the claim's bound, a verdict.

What is measured of each claim is in tokenshift.tables.claim_quantities.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from scipy import stats

from tokenshift.config.analysis import Analysis
from tokenshift.config.specs import TrainingGroups
from tokenshift.registries.claims import CLAIMS, ORDER, Claim
from tokenshift.tables.claim_quantities import Measurement, of_pair, weights_help
from tokenshift.tables.evidence import Evidence, NotMeasured, gather
from tokenshift.tables.files import by_names, names
from tokenshift.tables.statistics import summarise
from tokenshift.tables.training import measure_groups
from tokenshift.tables.training_curves import read_metrics

SCHEMA = (
    dict.fromkeys(("claim", "variant", "pair", "set", "quantity"), pl.String)
    | dict.fromkeys(("estimate", "ci_low", "ci_high", "bound"), pl.Float64)
    | dict.fromkeys(("side", "paper_value", "verdict"), pl.String)
    | {"n_problems": pl.Int64, "detectable": pl.Float64, "problems_to_decide": pl.Int64}
)
POWER = 0.8


def verdict(ci_low: float, ci_high: float, bound: float, side: str) -> str:
    """supports: the interval is wholly on the claim's side of the bound; contradicts: on the other; else inconclusive.

    An undefined interval (NaN) is inconclusive.
    """
    wholly = {"above": ci_low > bound, "below": ci_high < bound}
    if wholly[side]:
        return "supports"
    return "contradicts" if wholly["below" if side == "above" else "above"] else "inconclusive"


def detectable(ci_low: float, ci_high: float, confidence: float) -> float:
    """The distance from its bound at which a quantity with this interval is found there with a probability of POWER.

    As if the estimate were normal, with the standard error that the interval shows.
    """
    z = stats.norm.ppf((1 + confidence) / 2)
    return (ci_high - ci_low) / 2 * (z + stats.norm.ppf(POWER)) / z


def problems_to_decide(estimate: float, ci_low: float, ci_high: float, bound: float, problems: int) -> int | None:
    """How many problems, in place of `problems`, would make the interval end at the bound, were the estimate to stay.

    Its width falls with the square root of their number. None where the estimate lies on the bound, or there is no
    interval.
    """
    if estimate == bound or math.isnan(ci_low):
        return None
    reach = estimate - ci_low if estimate > bound else ci_high - estimate
    return math.ceil(problems * max(1.0, (reach / (estimate - bound)) ** 2))


def judge(claim: Claim, measurement: Measurement, pair: str, problem_set: str, evidence: Evidence) -> dict[str, object]:
    """The claim's row: measured and judged, or "not measured" where the study lacks what it needs."""
    row = {"claim": claim.name, "variant": measurement.variant, "pair": pair, "set": problem_set}
    row |= {"quantity": measurement.quantity, "bound": measurement.bound, "side": claim.side}
    row |= {"paper_value": claim.paper_value, "verdict": "not measured"}
    try:
        resampled = measurement.measure(evidence)
        settled = measurement.settled(evidence)
    except NotMeasured:
        return row
    summary = summarise(evidence.bootstrap, resampled)
    estimate, low, high = (float(value[0]) for value in (summary.estimate, summary.ci_low, summary.ci_high))
    if math.isnan(estimate):
        return row
    problems = int(resampled.n_problems[0])
    row |= {"estimate": estimate, "ci_low": low, "ci_high": high, "n_problems": problems}
    row |= {"detectable": detectable(low, high, evidence.bootstrap.confidence)}
    row |= {"verdict": settled or verdict(low, high, measurement.bound, claim.side)}
    if row["verdict"] == "inconclusive" and not settled:
        row |= {"problems_to_decide": problems_to_decide(estimate, low, high, measurement.bound, problems)}
    return row


def judge_training(
    paths: dict[str, Sequence[Path]],
    sets: Sequence[str],
    training: TrainingGroups,
    weighted: Sequence[str],
    analysis: Analysis,
) -> list[dict[str, object]]:
    """Rows of C15: every group with weighted advantages on every problem set; `paths` as of `table`."""
    measured = measure_groups(paths["rollouts"], training.groups, analysis.bootstrap)
    shares = weighted_shares(paths["models"], training)
    rows = []
    for model in weighted:
        baseline = training.baseline_of[model]
        for problem_set in sets:
            measurement = weights_help(measured.get(problem_set, {}), shares.get(model), analysis, model, baseline)
            evidence = Evidence(analysis.bootstrap)
            rows.append(judge(CLAIMS["C15"], measurement, f"{model} vs {baseline}", problem_set, evidence))
    return rows


def weighted_shares(models: Sequence[Path], training: TrainingGroups) -> dict[str, float]:
    """Share of the tokens on which a group's weights act (tokenshift.rl.weights.ACTS), over its steps and seeds."""
    folders = {names("models", manifest)["model"]: manifest.parent for manifest in models}
    reported = {}
    for group, seeds in training.groups.items():
        rows = [read_metrics(folders[model]) for model in seeds.values() if model in folders]
        shares = pl.concat(rows).filter(metric="weighted_share")["value"] if rows else []
        if len(shares):
            reported[group] = float(shares.mean())
    return reported


def table(
    paths: dict[str, Sequence[Path]],
    control_of: dict[str, str | None],
    training: TrainingGroups,
    weighted: Sequence[str],
    analysis: Analysis,
) -> pl.DataFrame:
    """Rows of claims.csv: C1 to C14 of every pair that is no other's control, C15 of every weighted model; by claim.

    paths: files by kind (scores, cross_samples, checkpoint_scores, rollouts, models), any of which may be missing.
    control_of: every pair's control, or None. weighted: groups of `training` with weighted advantages.

    detectable and problems_to_decide are as the functions of these names say; the latter of inconclusive rows alone,
    and not of those that more problems would not decide.
    """
    files = {kind: by_names(kind, of_kind) for kind, of_kind in paths.items() if kind != "models"}
    sets = list(dict.fromkeys(key[1] for of_kind in files.values() for key in of_kind))
    rows = []
    for pair in (pair for pair in control_of if pair not in control_of.values()):
        for problem_set in sets:
            evidence = gather(pair, control_of[pair], problem_set, files, analysis.bootstrap)
            for name, measurement in of_pair(analysis, evidence):
                rows.append(judge(CLAIMS[name], measurement, pair, problem_set, evidence))
    rows += judge_training(paths, sets, training, weighted, analysis)
    rows.sort(key=lambda row: ORDER.index(row["claim"]))
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.selectors.float().fill_nan(None))
