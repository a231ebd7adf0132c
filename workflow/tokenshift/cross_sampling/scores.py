"""What switching rules look at: the score of each criterion at positions of a response.

A rule of cross-sampling switches to the intervention policy where the score of its criterion exceeds a threshold (for
`random`: where the coin is below a probability). The criteria, with their labels and the ranges of their thresholds,
are registered in tokenshift.registries.criteria; each has here the function of its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from tokenshift.distributions.comparison import NextToken, compare_nuclei
from tokenshift.distributions.divergence import js_of, kl_of
from tokenshift.distributions.log_probabilities import entropy_of, log_probabilities
from tokenshift.distributions.sampling import Sampling, probabilities


class Distribution:
    """Next-token distributions at N positions over the shared vocabulary, each form computed once."""

    def __init__(self, logits: Tensor, sampling: Sampling):
        self.logits, self.sampling = logits, sampling

    @cached_property
    def p(self) -> Tensor:
        """Probabilities (N, V) at temperature 1."""
        return probabilities(self.logits, 1.0)

    @cached_property
    def logp(self) -> Tensor:
        """Log-probabilities (N, V) at temperature 1."""
        return log_probabilities(self.logits)

    @cached_property
    def sampled(self) -> Tensor:
        """Probabilities (N, V) at the sampling temperature, before truncation."""
        temperature = self.sampling.temperature
        return self.p if temperature == 1 else probabilities(self.logits, temperature)

    @cached_property
    def candidates(self) -> NextToken:
        """The most probable tokens at the sampling temperature."""
        return NextToken.of(self.logits, self.sampling.temperature)


@dataclass(frozen=True)
class Observed:
    """What a criterion may look at, at N positions."""

    primary: Distribution
    intervention: Distribution | None  # absent for criteria that look at the primary alone
    drafted: Tensor  # (N,) what the primary would draw
    coins: Tensor  # (N,) uniform in [0, 1)


def js(observed: Observed) -> Tensor:
    """Jensen-Shannon divergence over the full vocabulary at temperature 1; switches above (arXiv 2603.22446)."""
    return js_of(observed.primary.p, observed.intervention.p)


def js_nucleus(observed: Observed) -> Tensor:
    """Jensen-Shannon divergence of the truncated, renormalised sampling distributions; switches above."""
    top_p = observed.primary.sampling.top_p
    untruncated = js_of(observed.primary.sampled, observed.intervention.sampled)
    return compare_nuclei(observed.primary.candidates, observed.intervention.candidates, top_p, untruncated)[
        "js_nucleus"
    ]


def kl_primary_intervention(observed: Observed) -> Tensor:
    """KL(primary || intervention) at temperature 1; switches above."""
    return kl_of(observed.primary.p, observed.primary.logp, observed.intervention.logp)


def kl_intervention_primary(observed: Observed) -> Tensor:
    """KL(intervention || primary) at temperature 1; switches above."""
    return kl_of(observed.intervention.p, observed.intervention.logp, observed.primary.logp)


def entropy_primary(observed: Observed) -> Tensor:
    """Entropy of the primary at temperature 1; switches above: where the primary is uncertain."""
    return entropy_of(observed.primary.p, observed.primary.logp)


def entropy_intervention(observed: Observed) -> Tensor:
    """Entropy of the intervention policy at temperature 1; switches above: where the intervention is uncertain."""
    return entropy_of(observed.intervention.p, observed.intervention.logp)


def logp_difference(observed: Observed) -> Tensor:
    """log p_primary - log p_intervention of the drafted token; switches above: where the intervention objects to it."""
    tokens = observed.drafted[:, None]
    difference = observed.primary.logp.gather(-1, tokens) - observed.intervention.logp.gather(-1, tokens)
    return difference.squeeze(-1)


def random(observed: Observed) -> Tensor:
    """The coin, whatever the distributions; switches below a probability, which may vary with the position.

    Positions switched at a probability are also switched at every larger one.
    """
    return observed.coins


# The function of each criterion, by its name.
SCORES: dict[str, Callable[[Observed], Tensor]] = {
    function.__name__: function
    for function in (
        js,
        js_nucleus,
        kl_primary_intervention,
        kl_intervention_primary,
        entropy_primary,
        entropy_intervention,
        logp_difference,
        random,
    )
}
