"""RL with verifiable rewards: rollouts, old log-probabilities, and clipped policy-gradient steps (DAPO, GRPO)."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel

from tokenshift.rl.advantages import group_advantages, overlong_penalty, rewards
from tokenshift.rl.losses import token_weights
from tokenshift.rl.objective import Sampled, Settings, objective
from tokenshift.rl.rollout_batches import Group
from tokenshift.rl.weights import entropy_ranks
from tokenshift.training.batches import Padded, Part, dealt, micro_batches, pad_part
from tokenshift.training.engine import optimiser_step
from tokenshift.training.log_probs import TokenModel
from tokenshift.training.phases import phase
from tokenshift.training.world import World

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


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
    """Responses that pass through the model together, and what is known of their tokens."""

    batch: Padded
    sampled: Sampled


class Trainer:
    """Trains the policy of a DeepSpeed engine on rollout batches.

    Every process holds all groups and takes its share of the micro-batches, so that an optimiser step is the same
    whatever their size and however many processes there are.
    """

    def __init__(self, engine: "DeepSpeedEngine", initial: PreTrainedModel | None, settings: Settings):
        """`initial` is a frozen copy of the initial policy, for the KL to it; None leaves that out."""
        self.engine = engine
        self.initial = None if initial is None else TokenModel(initial)
        self.settings = settings
        self.world = World.current()

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """One optimiser step for each mini-batch of `groups` in each epoch; returns the metrics of these steps."""
        advantages = group_advantages(shaped_rewards(groups, self.settings), self.settings["scale_advantages"])
        size = self.settings["mini_batch_prompts"]
        with phase("log_probs"):
            mini_batches = [
                self._sampled(groups[start : start + size], advantages[start : start + size])
                for start in range(0, len(groups), size)
            ]
        observed: dict[str, list[Tensor]] = defaultdict(list)
        self.engine.train()
        steps = [
            optimiser_step(self.engine, mini_batch, lambda part: self._observed_loss(part, observed))
            for mini_batch in mini_batches * self.settings["epochs"]
        ]
        losses, norms = zip(*steps, strict=True)
        means = {"loss": sum(losses) / len(losses), "gradient_norm": sum(norms) / len(norms)}
        return self._summary(observed) | means

    @torch.no_grad()
    def _sampled(self, groups: Sequence[Group], advantages: Tensor) -> list[MicroBatch]:
        """This process's micro-batches of one optimiser batch, with the old policy's entropies ranked over all."""
        self.engine.eval()
        parts = list(self._micro_batches(groups, advantages))
        mine = torch.cat([part.sampled.old_entropy[part.sampled.mask] for part in parts])
        every = self.world.joined(mine)
        return [
            dataclasses.replace(
                part,
                sampled=dataclasses.replace(
                    part.sampled, entropy_rank=entropy_ranks(part.sampled.old_entropy, every).float()
                ),
            )
            for part in parts
        ]

    def _micro_batches(self, groups: Sequence[Group], advantages: Tensor) -> Iterator[MicroBatch]:
        """This process's share of one optimiser batch, with old log-probabilities from the trainer's own forward."""
        settings, device = self.settings, self.engine.device
        firsts = [len(group.prompt) for group in groups for _ in group.responses]
        rows = [group.prompt + response for group in groups for response in group.responses]
        lengths = [len(row) for row in rows]
        tokens = sum(lengths) - sum(firsts)
        parts = micro_batches(lengths, settings["micro_batch_size"], settings["micro_batch_tokens"])
        for part in dealt(parts, self.world.rank, self.world.size):
            batch = pad_part(part, rows, firsts, device)
            weights = token_weights(batch.mask, settings["aggregation"], tokens, len(rows), settings["max_new_tokens"])
            yield MicroBatch(batch, self._facts(batch, part, advantages, weights.float()))

    def _facts(self, batch: Padded, part: Part, advantages: Tensor, weights: Tensor) -> Sampled:
        temperature = self.settings["temperature"]
        logp, entropy = self.engine(batch, temperature, with_entropies=True)
        base_logp = None if self.initial is None else self.initial(batch, temperature)[0]
        return Sampled(
            mask=batch.mask,
            advantages=advantages.flatten()[part.rows, None].float().to(batch.tokens.device),
            token_weights=weights,
            old_logp=logp,
            old_entropy=entropy,
            entropy_rank=torch.zeros_like(entropy),
            base_logp=base_logp,
        )

    def loss(self, part: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Share of `part` in the loss of its optimiser batch, and what is observed at its tokens (B, T)."""
        with_entropies = self.settings["entropy_bonus"] > 0
        logp, entropy = self.engine(part.batch, self.settings["temperature"], with_entropies)
        return objective(logp, entropy, part.sampled, self.settings)

    def _observed_loss(self, part: MicroBatch, observed: dict[str, list[Tensor]]) -> Tensor:
        """The loss of `part`; adds what happened at its tokens to `observed`."""
        loss, seen = self.loss(part)
        for name, values in seen.items():
            observed[name].append(values[part.sampled.mask])
        return loss

    def _summary(self, observed: dict[str, list[Tensor]]) -> dict[str, float]:
        """Means over all tokens of a step; of the weights also the extremes."""
        tokens = {name: self.world.joined(torch.cat(values)).double() for name, values in sorted(observed.items())}
        summary = {name: values.mean().item() for name, values in tokens.items()}
        if "weight" in tokens:
            summary |= {"weight_min": tokens["weight"].min().item(), "weight_max": tokens["weight"].max().item()}
        return summary
