"""The claims of arXiv 2603.22446 as measurements: a quantity with its interval, the claim's bound, a verdict.

One function per claim, C1 to C15 in order, each using the quantities of the tables. Scores are those along the tuned
policy's responses.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tokenshift.tables.cells import measure
from tokenshift.tables.entropy_by_js import mean_entropy, share_low_entropy
from tokenshift.tables.evidence import Evidence, NotMeasured, gather
from tokenshift.tables.evolution import quantiles_at, steps
from tokenshift.tables.files import by_names, with_lengths
from tokenshift.tables.low_probability import share_improbable
from tokenshift.tables.position_profile import by_share, profile_cell
from tokenshift.tables.rank_reordering import share_within
from tokenshift.tables.sparsity import share_above, share_below
from tokenshift.tables.statistics import Bootstrap, Resampled
from tokenshift.tables.sweep import CONTROLS, Sweep, check_matched
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
class Claim:
    """A claim: its quantity, which the paper says lies on one `side` (above or below) of `bound`.

    decidable: whether the evidence can decide it at all, whatever the quantity's interval.
    """

    name: str
    quantity: str
    side: str
    bound: float
    paper_value: str
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


def sparse(analysis: dict) -> Claim:
    """C1: shifts are sparse."""
    cell = share_below(analysis["divergence"], analysis["near_zero"])
    quantity = f"share of positions with JS below {analysis['near_zero']:g}"
    paper = "above 0.83 (DAPO), 0.98 (SimpleRL)"
    return Claim("C1", quantity, "above", analysis["claims"]["sparse"], paper, lambda e: e.measure(cell))


def control_is_denser(analysis: dict) -> Claim:
    """C2: supervised fine-tuning shifts more positions."""
    cell = share_above(analysis["divergence"], analysis["high"])
    quantity = f"share of positions with JS above {analysis['high']:g}, control pair minus this pair"
    return Claim("C2", quantity, "above", 0.0, "SFT far denser", lambda e: e.measure(cell, "control") - e.measure(cell))


def _over_the_middle(twentieth: int, divergence: str) -> Callable[[Evidence], Resampled]:
    """Mean JS in that twentieth of the responses, counted from 0, over their middle half."""
    cells = [profile_cell({}, twentieth, twentieth), profile_cell({}, 5, 14)]

    def quotient(evidence: Evidence) -> Resampled:
        sums = by_share(with_lengths(evidence.held("scores")), divergence, 20)
        measured = measure(sums.lazy(), cells, evidence.bootstrap)
        return measured[:1] / measured[1:]

    return quotient


def high_at_the_start(analysis: dict) -> Claim:
    """C3: shifts are high at the start of a response."""
    quantity = "mean JS, first 5 % of the response over its middle 50 %"
    return Claim("C3", quantity, "above", 1.0, "high at the start", _over_the_middle(0, analysis["divergence"]))


def rise_at_the_end(analysis: dict) -> Claim:
    """C4: shifts rise a little at the end of a response."""
    quantity = "mean JS, last 5 % of the response over its middle 50 %"
    return Claim("C4", quantity, "above", 1.0, "a small rise", _over_the_middle(19, analysis["divergence"]))


def unchanged_are_confident(analysis: dict) -> Claim:
    """C5: unchanged positions are those of low entropy."""
    js, near_zero, high = pl.col(analysis["divergence"]), analysis["near_zero"], analysis["high"]
    unchanged, changed = (mean_entropy({}, "base", where) for where in (js < near_zero, js > high))
    quantity = f"mean base entropy, positions with JS below {near_zero:g} minus those with JS above {high:g}"
    return Claim(
        "C5", quantity, "below", 0.0, "low JS: low entropy", lambda e: e.measure(unchanged) - e.measure(changed)
    )


def confident_overridden(analysis: dict) -> Claim:
    """C6: confident base predictions are overridden too."""
    low_entropy, high = analysis["claims"]["low_entropy"], analysis["high"]
    cell = share_low_entropy({}, "base", pl.col(analysis["divergence"]) > high, low_entropy)
    quantity = f"share of positions with JS above {high:g} whose base entropy is below {low_entropy:g} nats"
    bound = analysis["claims"]["confident_overridden"]
    return Claim("C6", quantity, "above", bound, "high JS: low and high entropy", lambda e: e.measure(cell))


def context_beats_identity(analysis: dict) -> Claim:
    """C7: context explains more of JS than the identity of the token."""

    def explained(evidence: Evidence) -> Resampled:
        return variance_explained(token_sums(evidence.held("scores"), analysis), evidence.bootstrap)

    quantity = "share of the variance of JS that token identity explains"
    return Claim("C7", quantity, "below", analysis["claims"]["identity_variance"], "context dominates", explained)


def candidates_stay(analysis: dict) -> Claim:
    """C8: at changed positions the two policies' top candidates are the same."""
    cell = overlap({}, 2, pl.col(analysis["divergence"]) > analysis["high"])
    quantity = f"mean overlap of the top-2 sets at JS above {analysis['high']:g}"
    paper = "over 0.8 (SimpleRL), a little lower (DAPO)"
    return Claim("C8", quantity, "above", analysis["claims"]["top2_overlap"], paper, lambda e: e.measure(cell))


def reordering(analysis: dict) -> Claim:
    """C9: the tuned policy reorders what the base already ranks high."""
    cell = share_within({}, "base_rank_of_tuned_top1", 3, pl.col(analysis["divergence"]) > analysis["high"])
    quantity = f"share of the tuned policy's top-1 within the base's top 3 at JS above {analysis['high']:g}"
    paper = "over 0.8 (DAPO), 0.9 (SimpleRL)"
    return Claim("C9", quantity, "above", analysis["claims"]["within_top3"], paper, lambda e: e.measure(cell))


def little_from_nowhere(analysis: dict) -> Claim:
    """C10: the tuned policy seldom favours what the base found improbable."""
    high, improbable = analysis["high"], analysis["improbable"]
    cell = share_improbable({}, "base_of_tuned_top1", improbable, pl.col(analysis["divergence"]) > high)
    quantity = f"share of the tuned policy's top-1 with base probability below {improbable:g} at JS above {high:g}"
    bound = analysis["claims"]["from_nowhere"]
    return Claim("C10", quantity, "below", bound, "about 0.05 (DAPO)", lambda e: e.measure(cell))


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
        gap = evidence.bootstrap.summarise(evidence.sweep(direction, "js").gap)
        return bool(gap.ci_low[0] > 0 if direction == "forward" else gap.ci_high[0] < 0)

    return better


def sufficiency(analysis: dict) -> Claim:
    """C11: few of the tuned policy's tokens suffice for its gain."""
    budget, bound = analysis["claims"]["budget"], analysis["claims"]["recovered"]
    quantity = f"gain recovered forward at an effective share of at most {budget:g}"
    paper = "about 0.98 at 0.078 (DAPO), 0.97 at 0.039 (SimpleRL), AIME24"
    return Claim("C11", quantity, "above", bound, paper, _recovered("forward", budget), _tuned_is_better("forward"))


def necessity(analysis: dict) -> Claim:
    """C12: without them the gain is lost."""
    budget, bound = analysis["claims"]["budget"], analysis["claims"]["recovered"]
    quantity = f"gain lost in reverse at an effective share of at most {budget:g}"
    paper = "about 0.99 at 0.101 (DAPO), 1.00 at 0.05 (SimpleRL), AIME24"
    return Claim("C12", quantity, "above", bound, paper, _recovered("reverse", budget), _tuned_is_better("reverse"))


def these_tokens(analysis: dict, direction: str, control: str) -> Claim:
    """C13: it is these tokens, not so many tokens; against one of the random controls."""
    budget = analysis["claims"]["budget"]
    gain = {"forward": "gain recovered forward", "reverse": "gain lost in reverse"}[direction]
    quantity = f"{gain} at an effective share of at most {budget:g}, JS minus random at {CONTROLS[control]}"
    return Claim(
        "C13",
        quantity,
        "above",
        0.0,
        "not reported",
        _recovered_minus_random(direction, control, budget),
        _tuned_is_better(direction),
    )


def concentration(analysis: dict) -> Claim:
    """C14: over training the highest shifts grow fastest."""

    def growth(evidence: Evidence) -> Resampled:
        rows = evidence.held("checkpoint_scores")
        scored = steps(rows)
        if len(scored) < 2:
            raise NotMeasured
        first, last = (
            quantiles_at(rows, step, analysis["divergence"], [0.5, 0.99], evidence.bootstrap)
            for step in (scored[0], scored[-1])
        )
        grown = last - first
        return grown[1:] - grown[:1]

    quantity = "growth of the 99th minus growth of the 50th percentile of JS, first to last checkpoint"
    return Claim("C14", quantity, "above", 0.0, "fastest in the high quantiles", growth)


def weights_help(groups: dict[str, Group], model: str, baseline: str) -> Claim:
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
    return Claim("C15", quantity, "above", 0.0, "0.026 (high-KL), 0.024 (low-KL)", difference, several_seeds)


def pair_claims(analysis: dict, controls: dict[str, str]) -> list[Claim]:
    """C1 to C14 under the study's analysis section; C13 against the random control of each direction."""
    of_scores = (
        *(sparse, control_is_denser, high_at_the_start, rise_at_the_end, unchanged_are_confident),
        *(confident_overridden, context_beats_identity, candidates_stay, reordering, little_from_nowhere),
    )
    return [
        *(claim(analysis) for claim in (*of_scores, sufficiency, necessity)),
        *(these_tokens(analysis, direction, controls[direction]) for direction in ("forward", "reverse")),
        concentration(analysis),
    ]


def judge(claim: Claim, pair: str, problem_set: str, evidence: Evidence) -> dict[str, object]:
    """The claim's row: measured and judged, or "not measured" where the study lacks what it needs."""
    row = {"claim": claim.name, "pair": pair, "set": problem_set, "quantity": claim.quantity}
    row |= {"bound": claim.bound, "side": claim.side, "paper_value": claim.paper_value, "verdict": "not measured"}
    try:
        resampled = claim.measure(evidence)
        decidable = claim.decidable(evidence)
    except NotMeasured:
        return row
    summary = evidence.bootstrap.summarise(resampled)
    estimate, ci_low, ci_high = (float(value[0]) for value in (summary.estimate, summary.ci_low, summary.ci_high))
    if math.isnan(estimate):
        return row
    reached = verdict(ci_low, ci_high, claim.bound, claim.side) if decidable else "inconclusive"
    row |= {"estimate": estimate, "ci_low": ci_low, "ci_high": ci_high, "verdict": reached}
    return row | {"n_problems": int(resampled.n_problems[0])}


def table(
    paths: dict[str, Sequence[Path]], pairs: dict[str, dict], training: dict | None, analysis: dict
) -> pl.DataFrame:
    """Rows of claims.csv: C1 to C14 of every pair that is no other's control, C15 of every compared model; by claim.

    paths: files by kind (scores, cross_samples, checkpoint_scores, rollouts), any of which may be missing. pairs: each
    with its control, or null. training: as in tables.training, or None.
    """
    files = {kind: by_names(kind, of_kind) for kind, of_kind in paths.items()}
    sets = list(dict.fromkeys(key[1] for of_kind in files.values() for key in of_kind))
    controls = {pair["control"] for pair in pairs.values()}
    rows = []
    for name in (name for name in pairs if name not in controls):
        for problem_set in sets:
            evidence = gather(name, pairs[name]["control"], problem_set, files, analysis)
            random = {direction: evidence.random_control(direction) for direction in ("forward", "reverse")}
            rows += [judge(claim, name, problem_set, evidence) for claim in pair_claims(analysis, random)]
    if training is not None:
        evidence = Evidence(Bootstrap(**analysis["bootstrap"]))
        measured = measure_groups(paths["rollouts"], training["groups"], evidence.bootstrap)
        for model, baseline in training["baseline_of"].items():
            for problem_set in sets:
                claim = weights_help(measured.get(problem_set, {}), model, baseline)
                rows.append(judge(claim, f"{model} vs {baseline}", problem_set, evidence))
    rows.sort(key=lambda row: int(row["claim"].removeprefix("C")))
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.selectors.float().fill_nan(None))
