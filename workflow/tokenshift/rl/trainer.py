"""One update of the policy: old log-probabilities, advantages, and clipped policy-gradient steps (DAPO, GRPO)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel

from tokenshift.config.models import Rl
from tokenshift.rl.advantages import group_advantages, overlong_penalty, rewards
from tokenshift.rl.losses import token_weights
from tokenshift.rl.objective import Sampled, objective
from tokenshift.rl.rollout_batches import Group
from tokenshift.rl.weights import acted_on, entropy_ranks
from tokenshift.training.batches import Padded, dealt, micro_batches, pad_rows
from tokenshift.training.engine import optimiser_step
from tokenshift.training.log_probs import TokenModel
from tokenshift.training.phases import phase
from tokenshift.training.world import World

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


def warmup_then_constant(optimiser: Optimizer, warmup_steps: int) -> LRScheduler:
    """Linear rise over the first `warmup_steps` optimiser steps, then constant."""
    return LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / max(1, warmup_steps)))


def shaped_rewards(groups: Sequence[Group], settings: Rl) -> Tensor:
    """Rewards (G, n) of `groups`, float64: for correctness, less the soft overlong penalty where one is set."""
    correct = torch.tensor([group.correct for group in groups])
    reward = rewards(correct, settings.reward_correct, settings.reward_wrong)
    if settings.overlong is None:
        return reward
    lengths = torch.tensor([[len(response) for response in group.responses] for group in groups])
    overlong = settings.overlong
    return reward + overlong_penalty(lengths, settings.max_new_tokens, overlong.buffer, overlong.factor)


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

    def __init__(self, engine: "DeepSpeedEngine", initial: PreTrainedModel | None, settings: Rl):
        """`initial` is a frozen copy of the initial policy, for the KL to it; None leaves that out."""
        self.engine = engine
        self.initial = None if initial is None else TokenModel(initial)
        self.settings = settings
        self.world = World.current()

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """Take one optimiser step for each mini-batch of `groups` in each epoch; returns metrics of these steps."""
        advantages = group_advantages(shaped_rewards(groups, self.settings), self.settings.scale_advantages)
        size = self.settings.mini_batch_prompts
        with phase("log_probs"):
            mini_batches = [
                self._micro_batches(groups[start : start + size], advantages[start : start + size])
                for start in range(0, len(groups), size)
            ]
        reported: dict[str, list[Tensor]] = defaultdict(list)
        self.engine.train()
        steps = [
            optimiser_step(self.engine, mini_batch, lambda micro_batch: self._reported_loss(micro_batch, reported))
            for mini_batch in mini_batches * self.settings.epochs
        ]
        losses, norms = zip(*steps, strict=True)
        means = {"loss": sum(losses) / len(losses), "gradient_norm": sum(norms) / len(norms)}
        return self._summary(reported) | means

    @torch.no_grad()
    def _micro_batches(self, groups: Sequence[Group], advantages: Tensor) -> list[MicroBatch]:
        """This process's micro-batches of the mini-batch `groups`, which has `advantages` (G, n).

        Old log-probabilities come from the trainer's own forward pass, not from decoding, whose rounding differs.
        """
        settings, device = self.settings, self.engine.device
        firsts = [len(group.prompt) for group in groups for _ in group.responses]
        sequences = [group.prompt + response for group in groups for response in group.responses]
        lengths = [len(sequence) for sequence in sequences]
        tokens = sum(lengths) - sum(firsts)
        cut = micro_batches(lengths, settings.micro_batch_size, settings.micro_batch_tokens)
        mine = dealt(cut, self.world.rank, self.world.size)
        batches = [pad_rows(rows, sequences, firsts, device) for rows in mine]
        self.engine.eval()
        old = [self.engine(batch, settings.temperature, with_entropies=True) for batch in batches]
        entropies = torch.cat([entropy[batch.mask] for batch, (_, entropy) in zip(batches, old, strict=True)])
        all_entropies = self.world.joined(entropies)
        ready = []
        for rows, batch, (old_logp, old_entropy) in zip(mine, batches, old, strict=True):
            shares = token_weights(batch.mask, settings.aggregation, tokens, len(sequences), settings.max_new_tokens)
            sampled = Sampled(
                mask=batch.mask,
                advantages=advantages.flatten()[rows.indices, None].float().to(device),
                token_weights=shares.float(),
                old_logp=old_logp,
                old_entropy=old_entropy,
                entropy_rank=entropy_ranks(old_entropy, all_entropies).float(),
                initial_logp=None if self.initial is None else self.initial(batch, settings.temperature)[0],
            )
            ready.append(MicroBatch(batch, sampled))
        return ready

    def loss(self, micro_batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Share of `micro_batch` in the loss of its optimiser batch, and what to report of its tokens (B, T)."""
        with_entropies = self.settings.entropy_bonus > 0
        logp, entropy = self.engine(micro_batch.batch, self.settings.temperature, with_entropies)
        return objective(logp, entropy, micro_batch.sampled, self.settings)

    def _reported_loss(self, micro_batch: MicroBatch, reported: dict[str, list[Tensor]]) -> Tensor:
        """The loss of `micro_batch`; adds what there is to report of its tokens to `reported`."""
        loss, values_by_name = self.loss(micro_batch)
        for name, values in values_by_name.items():
            reported[name].append(values[micro_batch.sampled.mask])
        return loss

    def _summary(self, reported: dict[str, list[Tensor]]) -> dict[str, float]:
        """Means over all tokens of all optimiser steps; of the KL to the old policy also its 90th percentile.

        Of the weights also the extremes, and the share of tokens that they act on.
        """
        tokens = {name: self.world.joined(torch.cat(values)).double() for name, values in sorted(reported.items())}
        summary = {name: values.mean().item() for name, values in tokens.items()}
        summary["kl_old_p90"] = float(np.quantile(tokens["kl_old"].cpu().numpy(), 0.9))
        if "weight" in tokens:
            weights = tokens["weight"]
            summary |= {"weight_min": weights.min().item(), "weight_max": weights.max().item()}
            summary["weighted_share"] = acted_on(weights).double().mean().item()
        return summary
