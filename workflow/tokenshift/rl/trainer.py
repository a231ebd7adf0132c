"""RL with verifiable rewards: rollouts, old log-probabilities, and clipped policy-gradient steps (DAPO, GRPO)."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from tqdm import tqdm
from transformers import PreTrainedModel

from tokenshift.progress import progress
from tokenshift.rl.advantages import group_advantages, overlong_penalty, rewards
from tokenshift.rl.losses import clipped_above, clipped_below, clipped_loss, kl_estimate, log_ratio, token_weights
from tokenshift.rl.rollout_batches import Group, RolloutBatch, Rollouts, collect, shortfall
from tokenshift.rl.weights import divergence_weights
from tokenshift.training.batches import Padded, micro_batches, pad
from tokenshift.training.engine import gathered, optimiser_step, world_total
from tokenshift.training.log_probs import entropies, log_probs, target_logits
from tokenshift.training.outputs import append_metrics, checkpoint_due, checkpoint_folder, export

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

Settings = dict[str, Any]  # the study's resolved `rl` section (tokenshift.config.study.Rl)


def warmup_then_constant(optimiser: Optimizer, warmup_steps: int) -> LRScheduler:
    """Linear rise over the first `warmup_steps` optimiser steps, then constant."""
    return LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / max(1, warmup_steps)))


def shaped_rewards(groups: Sequence[Group], settings: Settings) -> Tensor:
    """Rewards (G, n) of `groups`, float64: for correctness, less the soft overlong penalty where one is set."""
    reward = rewards(
        torch.tensor([group.correct for group in groups]), settings["reward_correct"], settings["reward_wrong"]
    )
    if settings["overlong"] is None:
        return reward
    lengths = torch.tensor([[len(response) for response in group.responses] for group in groups])
    return reward + overlong_penalty(lengths, settings["max_new_tokens"], **settings["overlong"])


@dataclass(frozen=True)
class MicroBatch:
    """Responses that pass through the model together. (B, T) tensors are over the targets of `batch`."""

    batch: Padded
    advantages: Tensor  # (B, 1)
    token_weights: Tensor  # (B, T), of the mean over the whole optimiser batch
    old_logp: Tensor  # (B, T), of the policy that drew the responses
    entropy: Tensor  # (B, T), of that policy
    base_logp: Tensor | None  # (B, T), of the initial policy; None without a KL loss


class Trainer:
    """Trains the policy of a DeepSpeed engine on rollout batches."""

    def __init__(self, engine: "DeepSpeedEngine", initial: PreTrainedModel | None, settings: Settings):
        """`initial` is a frozen copy of the initial policy; needed only where settings["kl_coefficient"] > 0."""
        self.engine = engine
        self.initial = initial
        self.settings = settings

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """One optimiser step for each mini-batch of `groups`; returns the metrics of these steps."""
        advantages = group_advantages(shaped_rewards(groups, self.settings))
        size = self.settings["mini_batch_prompts"]
        mini_batches = [
            list(self._micro_batches(groups[start : start + size], advantages[start : start + size]))
            for start in range(0, len(groups), size)
        ]
        observed: dict[str, list[Tensor]] = defaultdict(list)
        self.engine.train()
        norms = [
            optimiser_step(self.engine, mini_batch, lambda part: self._loss(part, observed))[1]
            for mini_batch in mini_batches
        ]
        return _summary(observed) | {"gradient_norm": sum(norms) / len(norms)}

    @torch.no_grad()
    def _micro_batches(self, groups: Sequence[Group], advantages: Tensor) -> Iterator[MicroBatch]:
        """Micro-batches of one optimiser batch, with old log-probabilities from the trainer's own forward pass."""
        settings, device = self.settings, self.engine.device
        temperature = settings["temperature"]
        firsts = [len(group.prompt) for group in groups for _ in group.responses]
        rows = [group.prompt + response for group in groups for response in group.responses]
        lengths = [len(row) for row in rows]
        tokens = world_total(sum(lengths) - sum(firsts), device)
        sequences = world_total(len(rows), device)
        self.engine.eval()
        for part in micro_batches(lengths, settings["micro_batch_size"]):
            batch = pad([rows[row] for row in part], [firsts[row] for row in part], device)
            logits = target_logits(self.engine, batch)
            base_logp = None
            if self.initial is not None:
                base_logp = log_probs(target_logits(self.initial, batch), batch.targets, temperature)
            yield MicroBatch(
                batch=batch,
                advantages=advantages.flatten()[part, None].float().to(device),
                token_weights=token_weights(batch.mask, settings["aggregation"], tokens, sequences),
                old_logp=log_probs(logits, batch.targets, temperature),
                entropy=entropies(logits, temperature),
                base_logp=base_logp,
            )

    def _loss(self, part: MicroBatch, observed: dict[str, list[Tensor]]) -> Tensor:
        """Share of `part` in the loss of its optimiser batch; adds what happened at its tokens to `observed`."""
        settings, mask = self.settings, part.batch.mask
        logits = target_logits(self.engine, part.batch)
        logp = log_probs(logits, part.batch.targets, settings["temperature"])
        ratio = log_ratio(logp, part.old_logp)  # (B, T)
        advantages = part.advantages
        seen = {"kl_old": kl_estimate(ratio, "k3"), "entropy": part.entropy}
        if settings["weight"] is not None:
            seen["weight"] = divergence_weights(ratio, **settings["weight"])
            advantages = advantages * seen["weight"]
        loss = clipped_loss(ratio, advantages, settings["clip_low"], settings["clip_high"], settings["dual_clip"])
        seen["clip_low"] = clipped_below(ratio, part.advantages, settings["clip_low"]).float()
        seen["clip_high"] = clipped_above(ratio, part.advantages, settings["clip_high"]).float()
        if part.base_logp is not None:
            seen["kl_base"] = kl_estimate(log_ratio(part.base_logp, logp), "k3")
            loss = loss + settings["kl_coefficient"] * seen["kl_base"]
        if settings["entropy_bonus"] > 0:
            loss = loss - settings["entropy_bonus"] * entropies(logits, settings["temperature"])
        for name, values in seen.items():
            observed[name].append(values.detach()[mask])
        return (part.token_weights * loss).sum()


def _summary(observed: dict[str, list[Tensor]]) -> dict[str, float]:
    """Means over all tokens of a step; of the weights also the extremes."""
    tokens = {name: torch.cat(values).double() for name, values in sorted(observed.items())}
    summary = {name: values.mean().item() for name, values in tokens.items()}
    if "weight" in tokens:
        summary |= {"weight_min": tokens["weight"].min().item(), "weight_max": tokens["weight"].max().item()}
    return summary


def rollout_metrics(batch: RolloutBatch, settings: Settings) -> dict[str, float | int]:
    """Means over all responses drawn for a step, also those of groups that dynamic sampling left out."""
    drawn = batch.drawn
    responses = [response for group in drawn for response in group.responses]
    correct = [answer for group in drawn for answer in group.correct]
    return {
        "draws": batch.draws,
        "reward": shaped_rewards(drawn, settings).mean().item(),
        "accuracy": sum(correct) / len(correct),
        "response_length": sum(map(len, responses)) / len(responses),
        "filtered_groups": sum(not group.mixed for group in drawn) / len(drawn),
        "groups": len(batch.groups),
    }


def train(trainer: Trainer, rollouts: Rollouts, folder: Path) -> None:
    """Train for the trainer's settings["steps"] rollout batches.

    Leaves the model, its checkpoints and metrics.jsonl in `folder`. Raises StudyError when a prompt cannot be encoded
    or, with the longest response, does not fit into the model's context.
    """
    settings = trainer.settings
    rollouts.check_prompts()
    draws = 0
    bar = progress(range(1, settings["steps"] + 1), "training", "step")
    for step in bar:
        with gathered(trainer.engine):
            batch = collect(
                lambda draw, step=step, done=draws: rollouts.draw(done + draw, f"rl-step-{step}-draw-{draw}"),
                settings["prompts_per_step"],
                settings["dynamic_sampling_draws"],
            )
        draws += batch.draws
        if message := shortfall(batch, settings["prompts_per_step"]):
            tqdm.write(f"step {step}: {message}", file=sys.stderr)
        row = {"step": step, **rollout_metrics(batch, settings)}
        if batch.groups:
            row |= trainer.update(batch.groups)
        bar.set_postfix(accuracy=f"{row['accuracy']:.3f}", draws=batch.draws, refresh=False)
        append_metrics(folder, row)
        if checkpoint_due(step, settings["steps"], settings["checkpoint_every"]):
            export(trainer.engine, rollouts.tokenizer, checkpoint_folder(folder, step))
    export(trainer.engine, rollouts.tokenizer, folder)
