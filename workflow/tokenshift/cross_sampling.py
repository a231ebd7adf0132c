"""Decoding with two policies (arXiv 2603.22446, analysis 2).

At each position a switching rule looks at both next-token distributions; where it fires, the next token is drawn from
the intervention policy, else from the primary: pi_mix = (1 - S) pi_primary + S pi_intervention. Both draws use the same
uniform, so a switched token counts as *replaced* (effective) exactly when it differs from what the primary would have
drawn. When nothing is switched the responses are the primary's own rollouts, when everything is, the intervention's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.divergence import js, log_probabilities
from tokenshift.generation import Decoding, Policy, batches, is_stop
from tokenshift.progress import progress
from tokenshift.sampling import Sampling, draw

NONE, ALL = np.inf, -np.inf

# (logits of the primary (B, V), logits of the intervention (B, V), coins (B,)) -> where to switch (B,)
Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


def js_above(threshold: float) -> Rule:
    """Switch where the full-vocabulary JS at temperature 1 exceeds `threshold` (nats)."""
    return lambda primary, intervention, coins: (
        js(log_probabilities(primary), log_probabilities(intervention)) > threshold
    )


def at_random(share: float) -> Rule:
    """Switch each position with probability `share`, whatever the distributions."""
    return lambda primary, intervention, coins: coins < share


@dataclass(frozen=True)
class CrossSample:
    """One response decoded with two policies; all lists have one entry per response token."""

    response: list[int]
    switched: list[bool]
    replaced: list[bool]
    primary_tokens: list[int]


@torch.inference_mode()
def cross_sample(
    primary: Policy,
    intervention: Policy,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    coins: np.ndarray,
    rule: Rule,
    sampling: Sampling,
    batch_size: int,
    name: str | None = None,
) -> list[CrossSample]:
    """Decode one response per prompt with `rule`; uniforms and coins are (rows, max_new_tokens) in [0, 1).

    A response ends when the policy that its token was drawn from takes that token for an end of sequence.
    """
    responses: list[CrossSample] = []
    with progress(None, name, "response", total=len(prompts)) as bar:
        for rows in batches(len(prompts), batch_size):
            responses += _decode_batch(
                primary, intervention, prompts[rows], uniforms[rows], coins[rows], rule, sampling
            )
            bar.update(len(prompts[rows]))
    return responses


def _decode_batch(
    primary: Policy,
    intervention: Policy,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    coins: np.ndarray,
    rule: Rule,
    sampling: Sampling,
) -> list[CrossSample]:
    device = primary.model.device
    vocabulary_size = min(primary.vocabulary_size, intervention.vocabulary_size)
    noise, coin = (torch.from_numpy(values).to(device) for values in (uniforms, coins))
    shape = (len(prompts), sampling.max_new_tokens)
    tokens = torch.zeros(shape, dtype=torch.long, device=device)
    primary_tokens = torch.zeros_like(tokens)
    switched = torch.zeros(shape, dtype=torch.bool, device=device)
    lengths = torch.full(shape[:1], sampling.max_new_tokens, device=device)
    alive = torch.arange(len(prompts), device=device)
    policies = (Decoding(primary, prompts), Decoding(intervention, prompts))
    for position in range(sampling.max_new_tokens):
        logits = [decoding.logits[:, :vocabulary_size].to(device) for decoding in policies]
        u = noise[alive, position]
        from_primary, from_intervention = (draw(block, u, sampling) for block in logits)
        fires = rule(*logits, coin[alive, position])
        drawn = torch.where(fires, from_intervention, from_primary)
        tokens[alive, position], primary_tokens[alive, position] = drawn, from_primary
        switched[alive, position] = fires
        stops = torch.where(fires, is_stop(drawn, intervention), is_stop(drawn, primary))
        lengths[alive[stops]] = position + 1
        rows = (~stops).nonzero().squeeze(-1)
        if len(rows) == 0 or position + 1 == sampling.max_new_tokens:
            break
        for decoding in policies:
            own_rows = rows.to(decoding.logits.device)
            if len(rows) < len(alive):
                decoding.keep(own_rows)
            decoding.append(drawn[rows].to(decoding.logits.device))
        alive = alive[rows]
    replaced = switched & (tokens != primary_tokens)
    columns = (block.tolist() for block in (tokens, switched, replaced, primary_tokens))
    return [
        CrossSample(*(values[:length] for values in row))
        for *row, length in zip(*columns, lengths.tolist(), strict=True)
    ]


def sweep_thresholds(js_values: np.ndarray, quantiles: Sequence[float]) -> list[float]:
    """Distinct `quantiles` of JS along the primary's own responses, from the largest (fewest switches) down.

    The quantile is the smallest observed value with at least that share of positions at or below it.
    """
    return sorted({float(value) for value in np.quantile(js_values, quantiles, method="inverted_cdf")}, reverse=True)
