"""The claims of arXiv 2603.22446 as measurements: a quantity with its interval, the claim's bound, a verdict.

What the claims say is in tokenshift.registries.claims; here is one function per claim, C1 to C15 in order, each using
the quantities of the tables. Scores are those along the tuned policy's responses.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Analysis, Bootstrap
from tokenshift.config.specs import TrainingGroups
from tokenshift.registries.claims import CLAIMS, ORDER, Claim
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.trajectories import DIRECTIONS
from tokenshift.tables.cells import measure
from tokenshift.tables.entropy_by_js import mean_entropy, share_low_entropy
from tokenshift.tables.evidence import Evidence, NotMeasured, gather
from tokenshift.tables.evolution import quantiles_at, steps
from tokenshift.tables.files import by_names, with_lengths
from tokenshift.tables.low_probability import share_improbable
from tokenshift.tables.position_profile import by_share, profile_cell
from tokenshift.tables.rank_reordering import share_within
from tokenshift.tables.sparsity import share_above, share_below
from tokenshift.tables.statistics import Resampled, summarise
from tokenshift.tables.sweep import Sweep, check_matched
from tokenshift.tables.token_identity import token_sums, variance_explained
from tokenshift.tables.top_k_overlap import overlap
from tokenshift.tables.training import Group, measure_groups, minus_baseline, over_seeds

SCHEMA = (
    dict.fromkeys(("claim", "pair", "set", "quantity"), pl.String)
    | dict.fromkeys(("estimate", "ci_low", "ci_high", "bound"), pl.Float64)
    | dict.fromkeys(("side", "paper_value", "verdict"), pl.String)
    | {"n_problems": pl.Int64}
)


def _always(evidence: Evidence) -> bool:
    return True


@dataclass(frozen=True)
class Measurement:
    """How a claim is measured: its quantity in words, the bound that it is held against, and what computes it.

    decidable: whether the evidence can decide the claim at all, whatever the quantity's interval.
    """

    quantity: str
    bound: float
    measure: Callable[[Evidence], Resampled]
    decidable: Callable[[Evidence], bool] = _always


def verdict(ci_low: float, ci_high: float, bound: float, side: str) -> str:
    """supports: the interval is wholly on the claim's side of the bound; contradicts: on the other; else inconclusive.

    An undefined interval (NaN) is inconclusive.
    """
    wholly = {"above": ci_low > bound, "below": ci_high < bound}
    if wholly[side]:
        return "supports"
    return "contradicts" if wholly["below" if side == "above" else "above"] else "inconclusive"


def sparse(analysis: Analysis) -> Measurement:
    """C1: shifts are sparse."""
    cell = share_below(analysis.divergence, analysis.near_zero)
    quantity = f"share of positions with JS below {analysis.near_zero:g}"
    return Measurement(quantity, analysis.claims.sparse, lambda evidence: evidence.measure(cell))


def control_is_denser(analysis: Analysis) -> Measurement:
    """C2: supervised fine-tuning shifts more positions."""
    cell = share_above(analysis.divergence, analysis.high)
    quantity = f"share of positions with JS above {analysis.high:g}, control pair minus this pair"
    return Measurement(quantity, 0.0, lambda evidence: evidence.measure(cell, "control") - evidence.measure(cell))


def _over_the_middle(twentieth: int, divergence: str) -> Callable[[Evidence], Resampled]:
    """Mean JS in that twentieth of the responses, counted from 0, over their middle half."""
    cells = [profile_cell({}, twentieth, twentieth), profile_cell({}, 5, 14)]

    def quotient(evidence: Evidence) -> Resampled:
        sums = by_share(with_lengths(evidence.held("scores")), divergence, 20)
        measured = measure(sums.lazy(), cells, evidence.bootstrap)
        return measured[:1] / measured[1:]

    return quotient


def high_at_the_start(analysis: Analysis) -> Measurement:
    """C3: shifts are high at the start of a response."""
    quantity = "mean JS, first 5 % of the response over its middle 50 %"
    return Measurement(quantity, 1.0, _over_the_middle(0, analysis.divergence))


def rise_at_the_end(analysis: Analysis) -> Measurement:
    """C4: shifts rise a little at the end of a response."""
    quantity = "mean JS, last 5 % of the response over its middle 50 %"
    return Measurement(quantity, 1.0, _over_the_middle(19, analysis.divergence))


def unchanged_are_confident(analysis: Analysis) -> Measurement:
    """C5: unchanged positions are those of low entropy."""
    js, near_zero, high = pl.col(analysis.divergence), analysis.near_zero, analysis.high
    unchanged, changed = (mean_entropy({}, "base", where) for where in (js < near_zero, js > high))
    quantity = f"mean base entropy, positions with JS below {near_zero:g} minus those with JS above {high:g}"
    return Measurement(quantity, 0.0, lambda evidence: evidence.measure(unchanged) - evidence.measure(changed))


def confident_overridden(analysis: Analysis) -> Measurement:
    """C6: confident base predictions are overridden too."""
    low_entropy, high = analysis.claims.low_entropy, analysis.high
    cell = share_low_entropy({}, "base", pl.col(analysis.divergence) > high, low_entropy)
    quantity = f"share of positions with JS above {high:g} whose base entropy is below {low_entropy:g} nats"
    return Measurement(quantity, analysis.claims.confident_overridden, lambda evidence: evidence.measure(cell))


def context_beats_identity(analysis: Analysis) -> Measurement:
    """C7: context explains more of JS than the identity of the token."""

    def explained(evidence: Evidence) -> Resampled:
        return variance_explained(token_sums(evidence.held("scores"), analysis), evidence.bootstrap)

    quantity = "share of the variance of JS that token identity explains"
    return Measurement(quantity, analysis.claims.identity_variance, explained)


def candidates_stay(analysis: Analysis) -> Measurement:
    """C8: at changed positions the two policies' top candidates are the same."""
    cell = overlap({}, 2, pl.col(analysis.divergence) > analysis.high)
    quantity = f"mean overlap of the top-2 sets at JS above {analysis.high:g}"
    return Measurement(quantity, analysis.claims.top2_overlap, lambda evidence: evidence.measure(cell))


def reordering(analysis: Analysis) -> Measurement:
    """C9: the tuned policy reorders what the base already ranks high."""
    cell = share_within({}, "base_rank_of_tuned_top1", 3, pl.col(analysis.divergence) > analysis.high)
    quantity = f"share of the tuned policy's top-1 within the base's top 3 at JS above {analysis.high:g}"
    return Measurement(quantity, analysis.claims.within_top3, lambda evidence: evidence.measure(cell))


def little_from_nowhere(analysis: Analysis) -> Measurement:
    """C10: the tuned policy seldom favours what the base found improbable."""
    high, improbable = analysis.high, analysis.improbable
    cell = share_improbable({}, "base_of_tuned_top1", improbable, pl.col(analysis.divergence) > high)
    quantity = f"share of the tuned policy's top-1 with base probability below {improbable:g} at JS above {high:g}"
    return Measurement(quantity, analysis.claims.from_nowhere, lambda evidence: evidence.measure(cell))


def _step_within(measured: Sweep, budget: float) -> slice:
    step = measured.largest_within(budget)
    if step is None:
        raise NotMeasured
    return slice(step, step + 1)


def _recovered(direction: str, budget: float) -> Callable[[Evidence], Resampled]:
    def recovered(evidence: Evidence) -> Resampled:
        measured = evidence.sweep(direction, "js")
        return measured.recovered_gain[_step_within(measured, budget)]

    return recovered


def _recovered_minus_random(direction: str, control: str, budget: float) -> Callable[[Evidence], Resampled]:
    def difference(evidence: Evidence) -> Resampled:
        js, random = evidence.sweep(direction, "js"), evidence.sweep(direction, control)
        check_matched(js, random)
        return (js.recovered_gain - random.recovered_gain)[_step_within(js, budget)]

    return difference


def _tuned_is_better(direction: str) -> Callable[[Evidence], bool]:
    """A share of the gain means something only where the tuned policy gained: its interval lies above 0."""

    def better(evidence: Evidence) -> bool:
        gap = summarise(evidence.bootstrap, evidence.sweep(direction, "js").gap)
        return bool(gap.ci_low[0] > 0 if direction == "forward" else gap.ci_high[0] < 0)

    return better


def sufficiency(analysis: Analysis) -> Measurement:
    """C11: few of the tuned policy's tokens suffice for its gain."""
    budget, bound = analysis.claims.budget, analysis.claims.recovered
    quantity = f"gain recovered forward at an effective share of at most {budget:g}"
    return Measurement(quantity, bound, _recovered("forward", budget), _tuned_is_better("forward"))


def necessity(analysis: Analysis) -> Measurement:
    """C12: without them the gain is lost."""
    budget, bound = analysis.claims.budget, analysis.claims.recovered
    quantity = f"gain lost in reverse at an effective share of at most {budget:g}"
    return Measurement(quantity, bound, _recovered("reverse", budget), _tuned_is_better("reverse"))


def these_tokens(analysis: Analysis, direction: str, control: str) -> Measurement:
    """C13: it is these tokens, not so many tokens; against one of the random controls."""
    budget = analysis.claims.budget
    gain = {"forward": "gain recovered forward", "reverse": "gain lost in reverse"}[direction]
    quantity = f"{gain} at an effective share of at most {budget:g}, JS minus random at {CONTROLS[control].matched}"
    return Measurement(quantity, 0.0, _recovered_minus_random(direction, control, budget), _tuned_is_better(direction))


def concentration(analysis: Analysis) -> Measurement:
    """C14: over training the highest shifts grow fastest."""

    def growth(evidence: Evidence) -> Resampled:
        rows = evidence.held("checkpoint_scores")
        scored = steps(rows)
        if len(scored) < 2:
            raise NotMeasured
        first, last = (
            quantiles_at(rows, step, analysis.divergence, [0.5, 0.99], evidence.bootstrap)
            for step in (scored[0], scored[-1])
        )
        grown = last - first
        return grown[1:] - grown[:1]

    quantity = "growth of the 99th minus growth of the 50th percentile of JS, first to last checkpoint"
    return Measurement(quantity, 0.0, growth)


def weights_help(groups: dict[str, Group], model: str, baseline: str) -> Measurement:
    """C15: divergence-weighted advantages raise accuracy; over problems and at least two seeds.

    One run of each model cannot tell what the weights did from what another seed does.
    """

    def difference(evidence: Evidence) -> Resampled:
        if model not in groups or baseline not in groups:
            raise NotMeasured
        return over_seeds(minus_baseline(groups[model], groups[baseline]), evidence.bootstrap)[:1]

    def several_seeds(_: Evidence) -> bool:
        return len(groups[model]) > 1

    quantity = "accuracy, this model minus the baseline, mean over paired seeds"
    return Measurement(quantity, 0.0, difference, several_seeds)


# What measures each claim on a pair, but C13, which is measured in both directions.
OF_PAIR: dict[str, Callable[[Analysis], Measurement]] = {
    "C1": sparse,
    "C2": control_is_denser,
    "C3": high_at_the_start,
    "C4": rise_at_the_end,
    "C5": unchanged_are_confident,
    "C6": confident_overridden,
    "C7": context_beats_identity,
    "C8": candidates_stay,
    "C9": reordering,
    "C10": little_from_nowhere,
    "C11": sufficiency,
    "C12": necessity,
    "C14": concentration,
}


def judge(claim: Claim, measurement: Measurement, pair: str, problem_set: str, evidence: Evidence) -> dict[str, object]:
    """The claim's row: measured and judged, or "not measured" where the study lacks what it needs."""
    row = {"claim": claim.name, "pair": pair, "set": problem_set, "quantity": measurement.quantity}
    row |= {"bound": measurement.bound, "side": claim.side, "paper_value": claim.paper_value}
    row |= {"verdict": "not measured"}
    try:
        resampled = measurement.measure(evidence)
        decidable = measurement.decidable(evidence)
    except NotMeasured:
        return row
    summary = summarise(evidence.bootstrap, resampled)
    estimate, ci_low, ci_high = (float(value[0]) for value in (summary.estimate, summary.ci_low, summary.ci_high))
    if math.isnan(estimate):
        return row
    reached = verdict(ci_low, ci_high, measurement.bound, claim.side) if decidable else "inconclusive"
    row |= {"estimate": estimate, "ci_low": ci_low, "ci_high": ci_high, "verdict": reached}
    return row | {"n_problems": int(resampled.n_problems[0])}


def judge_pair(pair: str, problem_set: str, evidence: Evidence, analysis: Analysis) -> list[dict[str, object]]:
    """Rows of C1 to C14; C13 against the strictest random control that the study made in each direction."""
    measurements = [(name, measured(analysis)) for name, measured in OF_PAIR.items()]
    measurements += [
        ("C13", these_tokens(analysis, direction, evidence.random_control(direction))) for direction in DIRECTIONS
    ]
    return [judge(CLAIMS[name], measurement, pair, problem_set, evidence) for name, measurement in measurements]


def judge_training(
    rollouts: Sequence[Path], sets: Sequence[str], training: TrainingGroups, bootstrap: Bootstrap
) -> list[dict[str, object]]:
    """Rows of C15: every compared group on every problem set."""
    measured = measure_groups(rollouts, training.groups, bootstrap)
    return [
        judge(
            CLAIMS["C15"],
            weights_help(measured.get(problem_set, {}), model, baseline),
            f"{model} vs {baseline}",
            problem_set,
            Evidence(bootstrap),
        )
        for model, baseline in training.baseline_of.items()
        for problem_set in sets
    ]


def table(
    paths: dict[str, Sequence[Path]],
    control_of: dict[str, str | None],
    training: TrainingGroups,
    analysis: Analysis,
) -> pl.DataFrame:
    """Rows of claims.csv: C1 to C14 of every pair that is no other's control, C15 of every compared model; by claim.

    paths: files by kind (scores, cross_samples, checkpoint_scores, rollouts), any of which may be missing. control_of:
    every pair's control, or None.
    """
    files = {kind: by_names(kind, of_kind) for kind, of_kind in paths.items()}
    sets = list(dict.fromkeys(key[1] for of_kind in files.values() for key in of_kind))
    rows = []
    for pair in (pair for pair in control_of if pair not in control_of.values()):
        for problem_set in sets:
            evidence = gather(pair, control_of[pair], problem_set, files, analysis.bootstrap)
            rows += judge_pair(pair, problem_set, evidence, analysis)
    rows += judge_training(paths["rollouts"], sets, training, analysis.bootstrap)
    rows.sort(key=lambda row: ORDER.index(row["claim"]))
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.selectors.float().fill_nan(None))
