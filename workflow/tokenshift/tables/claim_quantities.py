"""What of a study is held against each claim of arXiv 2603.22446: its quantity, its bound, and what computes it.

What the claims say is in tokenshift.registries.claims; here is one function per claim, C1 to C15 in order, each using
the quantities of the tables. Scores are those along the tuned policy's responses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from tokenshift.config.analysis import Analysis
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.trajectories import DIRECTIONS
from tokenshift.tables.cells import measure
from tokenshift.tables.entropy_by_js import mean_entropy, share_low_entropy
from tokenshift.tables.evidence import Evidence, NotMeasured
from tokenshift.tables.evolution import quantiles_at, steps
from tokenshift.tables.files import with_lengths
from tokenshift.tables.first_choices import share_improbable, share_within
from tokenshift.tables.position_profile import by_share, profile_cell
from tokenshift.tables.sparsity import share_above, share_below
from tokenshift.tables.statistics import Resampled, summarise
from tokenshift.tables.sweep import Sweep, check_matched
from tokenshift.tables.token_identity import token_sums, variance_explained
from tokenshift.tables.top_k_overlap import overlap
from tokenshift.tables.training import Group, minus_baseline, over_seeds

DISTRIBUTIONS = {"js": "whole vocabulary", "js_nucleus": "truncated"}


def _open(evidence: Evidence) -> None:
    return None


@dataclass(frozen=True)
class Measurement:
    """How a claim is measured: its quantity in words, the bound that it is held against, and what computes it.

    variant: what tells it from other measurements of the same claim. settled: the verdict of evidence that cannot
    decide the claim, whatever the quantity's interval; None where it can.
    """

    quantity: str
    bound: float
    measure: Callable[[Evidence], Resampled]
    variant: str = ""
    settled: Callable[[Evidence], str | None] = _open


def sparse(analysis: Analysis, divergence: str) -> Measurement:
    """C1: shifts are sparse, of the policies' whole distributions or, as the paper has it, truncated ones."""
    cell = share_below(divergence, analysis.near_zero)
    quantity = f"share of positions with JS below {analysis.near_zero:g}, {DISTRIBUTIONS[divergence]}"
    bound = analysis.claims.sparse
    return Measurement(quantity, bound, lambda evidence: evidence.measure(cell), DISTRIBUTIONS[divergence])


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
    cell = share_within({}, "tuned_top1_in_base", 3, pl.col(analysis.divergence) > analysis.high)
    quantity = f"share of the tuned policy's top-1 within the base's top 3 at JS above {analysis.high:g}"
    return Measurement(quantity, analysis.claims.within_top3, lambda evidence: evidence.measure(cell))


def little_from_nowhere(analysis: Analysis) -> Measurement:
    """C10: the tuned policy seldom favours what the base found improbable."""
    high, improbable = analysis.high, analysis.improbable
    cell = share_improbable({}, "tuned_top1_in_base", improbable, pl.col(analysis.divergence) > high)
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


def _minus_random(
    quantity: Callable[[Sweep], Resampled], direction: str, control: str, budget: float
) -> Callable[[Evidence], Resampled]:
    def difference(evidence: Evidence) -> Resampled:
        js, random = evidence.sweep(direction, "js"), evidence.sweep(direction, control)
        check_matched(js, random)
        return (quantity(js) - quantity(random))[_step_within(js, budget)]

    return difference


def _unless_tuned_is_better(direction: str) -> Callable[[Evidence], str | None]:
    """A share of the gain means something only where the tuned policy gained: its interval lies above 0."""

    def settled(evidence: Evidence) -> str | None:
        gap = summarise(evidence.bootstrap, evidence.sweep(direction, "js").gap)
        better = gap.ci_low[0] > 0 if direction == "forward" else gap.ci_high[0] < 0
        return None if better else "inconclusive"

    return settled


def sufficiency(analysis: Analysis) -> Measurement:
    """C11: few of the tuned policy's tokens suffice for its gain."""
    budget, bound = analysis.claims.budget, analysis.claims.recovered
    quantity = f"gain recovered forward at an effective share of at most {budget:g}"
    return Measurement(quantity, bound, _recovered("forward", budget), settled=_unless_tuned_is_better("forward"))


def necessity(analysis: Analysis) -> Measurement:
    """C12: without them the gain is lost."""
    budget, bound = analysis.claims.budget, analysis.claims.recovered
    quantity = f"gain lost in reverse at an effective share of at most {budget:g}"
    return Measurement(quantity, bound, _recovered("reverse", budget), settled=_unless_tuned_is_better("reverse"))


def these_tokens(analysis: Analysis, direction: str, control: str) -> Iterator[Measurement]:
    """C13: it is these tokens, not so many tokens; against one of the random controls.

    A control that replaces as many tokens draws its positions from those where the two policies' draws differ, which
    have high JS: it is the harder to beat, and says nothing of where policies differ at all. One that switches as many
    replaces fewer, so that beside the gain the gain of each replaced token is compared.
    """
    budget, matched = analysis.claims.budget, CONTROLS[control]
    gain = {"forward": "gain recovered forward", "reverse": "gain lost in reverse"}[direction]
    within = f"at an effective share of at most {budget:g}, JS minus random at {matched.matched}"
    settled = _unless_tuned_is_better(direction)
    total = _minus_random(lambda sweep: sweep.recovered_gain, direction, control, budget)
    as_many = "replaced" if matched.effective else "switched"
    yield Measurement(f"{gain} {within}", 0.0, total, f"{direction}, as many {as_many}", settled)
    if not matched.effective:
        each = _minus_random(lambda sweep: sweep.gain_per_replaced, direction, control, budget)
        accuracy = {"forward": "accuracy gained", "reverse": "accuracy lost"}[direction]
        quantity = f"{accuracy} per replaced token {within}"
        yield Measurement(quantity, 0.0, each, f"{direction}, per replaced token", settled)


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


def weights_help(
    groups: dict[str, Group], weighted_share: float | None, analysis: Analysis, model: str, baseline: str
) -> Measurement:
    """C15: divergence-weighted advantages raise accuracy; over problems and at least two seeds.

    One run of each model cannot tell what the weights did from what another seed does. Nor is the claim tested where
    the weights act on hardly any token: `weighted_share` is theirs, None where the runs do not say.
    """

    def difference(evidence: Evidence) -> Resampled:
        if model not in groups or baseline not in groups:
            raise NotMeasured
        return over_seeds(minus_baseline(groups[model], groups[baseline]), evidence.bootstrap)[:1]

    def settled(_: Evidence) -> str | None:
        if weighted_share is not None and weighted_share < analysis.claims.weighted:
            return "not tested"
        return None if len(groups[model]) > 1 else "inconclusive"

    quantity = "accuracy, this model minus the baseline, mean over paired seeds"
    if weighted_share is not None:
        quantity += f" (weights act on {weighted_share:.2%} of tokens)"
    return Measurement(quantity, 0.0, difference, settled=settled)


def of_pair(analysis: Analysis, evidence: Evidence) -> Iterator[tuple[str, Measurement]]:
    """The name of each claim on a pair, C1 to C14, with its measurements."""
    for divergence in DISTRIBUTIONS:
        yield "C1", sparse(analysis, divergence)
    yield "C2", control_is_denser(analysis)
    yield "C3", high_at_the_start(analysis)
    yield "C4", rise_at_the_end(analysis)
    yield "C5", unchanged_are_confident(analysis)
    yield "C6", confident_overridden(analysis)
    yield "C7", context_beats_identity(analysis)
    yield "C8", candidates_stay(analysis)
    yield "C9", reordering(analysis)
    yield "C10", little_from_nowhere(analysis)
    yield "C11", sufficiency(analysis)
    yield "C12", necessity(analysis)
    for direction in DIRECTIONS:
        for control in evidence.random_controls(direction):
            for measurement in these_tokens(analysis, direction, control):
                yield "C13", measurement
    yield "C14", concentration(analysis)
