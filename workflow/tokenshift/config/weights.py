"""Weights of the advantages: what a study may say of each.

A new weight is a section here with an entry in `Weight`, a function of that entry's name in tokenshift.rl.weights, and
a test of its formula in tests/rl/test_weights.py.
"""

from typing import Literal

from pydantic import Field, model_validator

from tokenshift.config.section import Section, exactly_one


class DivergenceWeight(Section):
    """w = 1 + strength (sigmoid(alpha KL) - 1/2), detached (paper, analysis 4)."""

    alpha: float = Field(ge=-1e6, le=1e6, description="Above 0 boosts high-KL tokens, below 0 low-KL tokens.")
    strength: float = Field(1.0, gt=-2, lt=2, description="Scale s; |s| < 2, so that no advantage changes sign.")
    direction: Literal["old_new", "new_old"] = Field(
        "old_new", description="k3 estimate of KL(old | new) or of KL(new | old)."
    )


class SiblingWeight(Section):
    """w = 1 + c - c pi_old(token): more for tokens that were improbable when drawn."""

    c: float = Field(
        gt=0, le=1000, description="Weight of a token of probability 0, less 1; 0.2 for 7B, 0.1 for 8B models."
    )


class TopEntropyWeight(Section):
    """1 for the tokens of highest entropy in the optimiser batch, 0 for the others (arXiv 2506.01939)."""

    share: float = Field(0.2, gt=0, le=1, description="Share of tokens that are learned from.")


class Weight(Section):
    """A weight of each token's advantage."""

    divergence: DivergenceWeight | None = Field(None, description="By the divergence from the old policy.")
    sibling: SiblingWeight | None = Field(None, description="By the old policy's probability.")
    top_entropy: TopEntropyWeight | None = Field(None, description="By the old policy's entropy.")

    @model_validator(mode="after")
    def _one_weight(self) -> "Weight":
        exactly_one(self, *Weight.model_fields)
        return self
