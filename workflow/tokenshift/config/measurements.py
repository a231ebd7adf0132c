"""What is measured of a pair: sampling, scoring, cross-sampling."""

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tokenshift.config.section import (
    Count,
    Distinct,
    Divergence,
    Name,
    Nucleus,
    Positive,
    Probability,
    Section,
    Temperature,
    exactly_one,
)
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.criteria import CRITERIA
from tokenshift.registries.trajectories import DIRECTIONS

LN_2 = math.log(2)


class Pair(Section):
    """Two models whose tokenizers have the same ordinary tokens, compared token by token."""

    base: Name = Field(description="Base model.")
    tuned: Name = Field(description="Tuned model.")
    control: Name | None = Field(None, description="Pair to report beside this one, such as an SFT model of the base.")
    special_tokens: dict[str, str] = Field(
        {},
        description="Special tokens of one id that mean the same under two names: the base's name, and the tuned "
        "model's. Other ids at which special tokens differ are left out of every comparison.",
    )


class ResponseSampling(Section):
    """How responses to problems are sampled."""

    samples: int = Field(32, ge=1, le=100_000, description="Responses per problem.")
    temperature: Temperature = Field(1.0, description="Sampling temperature.")
    top_p: Nucleus = Field(0.7, description="Nucleus: smallest set of tokens with at least this probability.")
    max_new_tokens: Count = Field(20000, description="Longest response.")
    batch_size: Count = Field(32, description="Responses decoded together.")


class Evaluation(ResponseSampling):
    """Sampling of responses for all analyses (paper: temperature 1, top-p 0.7, 32 responses, 20,000 tokens)."""

    sets: Distinct[Name] = Field(min_length=1, description="Problem sets to evaluate on.")
    engine: Literal["tokenshift", "vllm"] = Field(
        "tokenshift",
        description="What decodes the rollouts: the study's own decoder, or vLLM in its own environment (`make vllm`), "
        "for long responses on GPUs. Scores and cross-samples are never vLLM's.",
    )


class Truncation(Section):
    """A sampling distribution: softmax at a temperature, cut to a nucleus, renormalised."""

    temperature: Temperature = Field(1.0, description="Temperature.")
    top_p: Nucleus = Field(1.0, description="Mass of the nucleus; 1 for the whole vocabulary.")


class Compared(Section):
    """What is compared of two policies at a position, beside their full distributions."""

    top_k: int = Field(10, ge=3, le=127, description="Longest stored candidate list, and compared candidate set.")
    list_minimum: Probability = Field(
        0.02, description="Stored candidate lists end where a token's probability is below this."
    )
    ablation: list[Truncation] = Field(
        [], description="Further truncations at which JS is measured, beside the full and the evaluation's."
    )


class Scoring(Compared):
    """Teacher-forced comparison of a pair along fixed responses."""

    trajectories: list[Annotated[str, Field(pattern=r"^(tuned|base|(forward|reverse)-[a-z_]+-\d+)$")]] = Field(
        ["tuned", "base"],
        min_length=1,
        description="Whose responses are scored: tuned, base, or DIRECTION-CRITERION-STEP, a cross-sample at that step "
        "of its sweep (0: no switch), such as forward-js-3, of the cross-sampled pairs.",
    )
    conditioning: Literal["responder", "own"] = Field(
        "responder",
        description="Which prompt a policy is conditioned on where the models' prompts differ, here and in "
        "cross-sampling. responder: both on that of the policy whose response it is (in cross-sampling, the primary), "
        "so that the models alone differ; own: each on its own, so that a sweep ends at the intervention's rollouts.",
    )
    batch_tokens: Positive = Field(16384, description="Tokens per forward pass, padding included.")
    chunk_memory_mb: Positive | None = Field(
        None,
        description="Memory for blocks of logits, in MB; null: 200 on a CPU; on a GPU 1000, or a quarter of what is "
        "left there if that is less.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> "Scoring":
        for key in ("trajectories", "ablation"):
            values = getattr(self, key)
            if repeated := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{key} repeats {repeated[0]}")
        return self


class Drafting(Section):
    """How cross-sampling decodes; responses do not depend on it, but for near ties."""

    draft: Count | None = Field(
        4,
        description="Tokens that the primary drafts before the intervention is asked; 1: one at a time; null: chosen "
        "from costs measured while decoding, by which near ties can fall otherwise in another run.",
    )
    memory_mb: Positive = Field(8000, description="Memory for keys and values of both models, in MB.")


class CrossSampling(Drafting):
    """Decoding with two policies: one token at a time from the primary, or, where a rule fires, the intervention."""

    pairs: Distinct[Name] = Field([], description="Pairs to cross-sample.")
    directions: Distinct[Literal[*DIRECTIONS]] = Field(
        ["forward", "reverse"],
        description="forward: base with the tuned policy intervening; reverse: the other way.",
    )
    criteria: Distinct[Literal[*CRITERIA]] = Field(
        ["js"],
        min_length=1,
        description="What a rule looks at; it switches above a threshold. logp_difference: the primary's minus the "
        "intervention's log-probability of the drafted token.",
    )
    random_controls: Distinct[Literal[*CONTROLS]] = Field(
        ["random"],
        description="Also switch at random, matched to each js run: on the switched share (random), on the replaced "
        "share (effective), and on either along the response (position).",
    )
    samples: Count | None = Field(
        None,
        description="Responses per problem at each threshold; null: as many as evaluation.samples. The first of them "
        "have the random numbers of the first rollouts, so that fewer cost less and stay comparable.",
    )
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        None, description="Thresholds as increasing quantiles of the criterion along the primary's own responses."
    )
    thresholds: list[Divergence] | None = Field(
        None, description="Thresholds of js given directly, increasing, in nats; of no other criterion."
    )

    @property
    def all_criteria(self) -> list[str]:
        """Criteria of the sweeps, controls included."""
        return [*self.criteria, *self.random_controls]

    @model_validator(mode="after")
    def _thresholds(self) -> "CrossSampling":
        if not self.pairs:
            return self
        key = exactly_one(self, "quantiles", "thresholds")
        values = getattr(self, key)
        if any(later <= earlier for earlier, later in pairwise(values)):
            raise ValueError(f"{key} out of order: {values} must increase")
        if self.thresholds is not None and self.criteria != ["js"]:
            raise ValueError("thresholds are of js alone; give quantiles where criteria hold others")
        if self.thresholds is not None and max(self.thresholds, default=0) > LN_2:
            raise ValueError(f"thresholds: {max(self.thresholds)} lies above the largest JS, ln 2 = {LN_2:.4f}")
        return self

    @model_validator(mode="after")
    def _matched(self) -> "CrossSampling":
        if self.random_controls and "js" not in self.criteria:
            raise ValueError("random_controls are matched to js, which criteria lack")
        for control in self.random_controls:
            pilot = CONTROLS[control].pilot
            if pilot and pilot not in self.random_controls:
                raise ValueError(f"random_controls: {control} is calibrated with {pilot}; add it")
        return self
