"""Tiny pairs, prompts with their noise, and cross-sampling by running both models from scratch on every prefix."""

from dataclasses import dataclass

import numpy as np
import torch

from naive_sampling import naive_draw
from tiny_models import VOCABULARY, mixed, tiny_policy
from tokenshift.cross_sampling.resources import Resources
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.cross_sampling.trace import CrossSample
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies.policy import Policy
from tokenshift.registries.criteria import COIN, CRITERIA, Criterion

ALL_CRITERIA = CRITERIA | {COIN.name: COIN}


def resources(batch_size=32, draft: int | None = 5, memory_mb=100, near_tie=1e-12) -> Resources:
    """Plenty of memory; in float64 nothing but a mistake comes closer than the tolerance."""
    return Resources(batch_size, memory_mb, draft, near_tie)


def prompts_and_noise(rows: int, positions: int, samples: int = 3, seed: int = 0) -> dict:
    """Prompts of 1 to 8 tokens, each with several samples, and their noise."""
    random = np.random.default_rng(seed)
    prompts = [random.integers(2, VOCABULARY, random.integers(1, 9)).tolist() for _ in range(-(-rows // samples))]
    names = [str(row // samples) for row in range(rows)]
    numbers = [row % samples for row in range(rows)]
    return {
        "prompts": [prompts[row // samples] for row in range(rows)],
        "uniforms": uniforms(seed, "token", names, numbers, positions),
        "coins": uniforms(seed, "coin", names, numbers, positions),
    }


@dataclass
class Reference:
    """Both models run from scratch on whole prefixes, without cache or padding; each prefix once."""

    primary: Policy
    intervention: Policy
    sampling: Sampling

    def __post_init__(self):
        self.known: tuple[dict[tuple[int, ...], torch.Tensor], ...] = ({}, {})

    def logits(self, which: int, prefixes: list[tuple[int, ...]]) -> torch.Tensor:
        """Next-token logits (B, V) of one policy after each prefix; prefixes of one length share a batch."""
        policy, known = (self.primary, self.intervention)[which], self.known[which]
        missing: dict[int, list[tuple[int, ...]]] = {}
        for prefix in set(prefixes) - set(known):
            missing.setdefault(len(prefix), []).append(prefix)
        for group in missing.values():
            with torch.inference_mode():
                block = policy.model(torch.tensor(group), use_cache=False).logits[:, -1, : policy.vocabulary_size]
            known.update(zip(group, block, strict=True))
        return torch.stack([known[prefix] for prefix in prefixes])

    def __call__(
        self, criterion: Criterion, threshold, prompts, uniforms, coins, intervention_prompts=None, shared_ids=None
    ) -> list[CrossSample]:
        """The responses that cross_sample should give."""
        hidden = sorted(set(range(VOCABULARY)) - set(range(VOCABULARY) if shared_ids is None else shared_ids.tolist()))
        columns = [([], [], [], [], []) for _ in prompts]
        alive = list(range(len(prompts)))
        stops = (self.primary.stop_token_ids, self.intervention.stop_token_ids)
        for position in range(self.sampling.max_new_tokens):
            logits = [
                self.logits(which, [(*before[row], *columns[row][0]) for row in alive])
                for which, before in enumerate((prompts, intervention_prompts or prompts))
            ]
            for block in logits:
                block[:, hidden] = -torch.inf
            noise, coin = (torch.from_numpy(values[alive, position]) for values in (uniforms, coins))
            draws = [naive_draw(block, noise, self.sampling) for block in logits]
            both = [Distribution(block, self.sampling) for block in logits]
            scores = SCORES[criterion.name](Observed(*both, draws[0], coin)).tolist()
            at = threshold[position] if np.ndim(threshold) else threshold
            going = []
            for row, score, own, other in zip(alive, scores, *(block.tolist() for block in draws), strict=True):
                fires = score < at if criterion.name == "random" else score > at
                token = other if fires else own
                for column, value in zip(columns[row], (token, fires, fires and own != other, own, score), strict=True):
                    column.append(value)
                if token not in stops[int(fires)]:
                    going.append(row)
            alive = going
            if not alive:
                break
        return [CrossSample(*own, near_ties=0) for own in columns]


def pair(share: float = 0.2) -> tuple[Policy, Policy]:
    """Two policies that are near each other, and end responses with different tokens."""
    primary = tiny_policy(0)
    near = mixed(primary, tiny_policy(1), share)
    return Policy(primary.model, (1, 5), VOCABULARY), Policy(near.model, (1, 7), VOCABULARY)
