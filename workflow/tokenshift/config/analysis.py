"""What is said of the measurements: comparisons over seeds, tables, intervals, claims."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from tokenshift.config.section import Count, Distinct, Divergence, Entropy, Name, Probability, Section, Seed


class Training(Section):
    """Comparison of trained models over seeds."""

    baseline: Name = Field(description="Model (with its seeds) that the others are compared with.")
    models: Distinct[Name] = Field(min_length=1, description="Models to compare; with the baseline's seeds.")
    baselines: dict[Name, Name] = Field(
        {}, description="Baselines of those `models` that are compared with another than `baseline`, by model."
    )

    @model_validator(mode="after")
    def _baselines_of_models(self) -> "Training":
        if unknown := sorted(self.baselines.keys() - set(self.models)):
            raise ValueError(f"baselines names {unknown[0]}, which `models` lacks")
        return self

    @property
    def baseline_of(self) -> dict[str, str]:
        """Baseline of each compared model."""
        return {model: self.baselines.get(model, self.baseline) for model in self.models}


class Bootstrap(Section):
    """Confidence intervals: percentile bootstrap over problems."""

    replicates: Count = Field(2000, description="Resamples.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the interval.")
    seed: Seed = Field(0, description="Seed of the resampling.")


class Claims(Section):
    """Bounds of the paper's claims; C1 to C15 as in tables/claims.csv."""

    sparse: Probability = Field(0.80, description="C1: share of positions with JS below near_zero is above this.")
    low_entropy: float = Field(
        0.5, gt=0, le=100, description="C6: a confident base prediction has entropy below this, in nats."
    )
    confident_overridden: Probability = Field(0.05, description="C6: share of high-JS positions that were confident.")
    identity_variance: Probability = Field(0.5, description="C7: variance of JS explained by identity is below this.")
    top2_overlap: Probability = Field(0.8, description="C8: mean top-2 overlap at high JS is above this.")
    within_top3: Probability = Field(0.8, description="C9: share of tuned top-1 within the base's top 3 is above this.")
    from_nowhere: Probability = Field(
        0.10, description="C10: share of tuned top-1 the base found improbable is below this."
    )
    budget: Probability = Field(0.10, description="C11 to C13: largest effective share of replaced tokens.")
    weighted: Probability = Field(
        0.01, description="C15: not tested where the weights act, by more than 0.05, on a smaller share of tokens."
    )
    recovered: float = Field(
        0.8, ge=0, le=10, description="C11, C12: share of the gain recovered or lost is above this."
    )


class Measures(Section):
    """Thresholds, bins and intervals of the tables."""

    divergence: Literal["js", "js_nucleus"] = Field(
        "js", description="JS of the claims and of high-JS positions: full vocabulary, or truncated to the nucleus."
    )
    near_zero: float = Field(0.01, gt=0, le=1, description="JS below this counts as no change, in nats.")
    high: float = Field(0.1, gt=0, le=1, description="JS above this counts as high, in nats.")
    improbable: Probability = Field(0.01, description="A probability below this counts as low.")
    js_edges: list[Divergence] = Field(
        [0.0, 0.0001, 0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6932], min_length=2, description="Bins of JS, in nats."
    )
    entropy_edges: list[Entropy] = Field(
        [0.0, 0.01, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 12.0], min_length=2, description="Bins of entropy, in nats."
    )
    position_bins: Count = Field(20, description="Bins of the position profiles.")
    identity_tokens: Count = Field(20, description="Tokens listed by mean JS.")
    identity_minimum: Count = Field(20, description="Fewest occurrences of a listed token.")
    top_k: list[Count] = Field([1, 2, 3, 5, 10], description="Sizes of the compared candidate sets.")
    quantiles: list[Probability] = Field([0.5, 0.75, 0.9, 0.95, 0.99], description="Quantiles of JS over training.")
    budget_points: Count = Field(
        8, description="Budgets of replaced tokens, evenly spaced above 0, at which the optimal budget is computed."
    )
    budget_splits: Count = Field(
        4, description="Random halvings of the samples over which the optimal budget is cross-fitted."
    )
    bootstrap: Bootstrap = Field(Bootstrap(), description="Intervals.")

    @model_validator(mode="after")
    def _ordered(self) -> "Measures":
        for key in ("js_edges", "entropy_edges", "top_k", "quantiles"):
            values = getattr(self, key)
            if any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{key} out of order: {values} must increase")
        if self.high < self.near_zero:
            raise ValueError(f"high ({self.high}) is below near_zero ({self.near_zero})")
        return self


class Analysis(Measures):
    """Thresholds and bins of the tables."""

    claims: Claims = Field(Claims(), description="Bounds of the claims.")
