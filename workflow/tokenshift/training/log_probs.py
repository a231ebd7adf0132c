"""Log-probabilities of given tokens, and entropies, without ever holding all logits.

The logits (B, T, V) of a micro-batch are what fills the memory first. Here they are computed for a few targets at a
time, from the decoder's hidden states, and computed again in the backward pass instead of being kept for it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tokenshift.distributions.log_probabilities import entropy, log_probabilities
from tokenshift.policies.forward import SplitModel
from tokenshift.training.batches import Padded

CHUNK_BYTES = 2**28  # of float32 logits at once


class TokenModel(nn.Module):
    """A causal LM that maps a micro-batch to the log-probabilities, and if asked the entropies, at its targets."""

    def __init__(self, model: PreTrainedModel, in_step: bool = False):
        """`in_step` makes all processes call the output head equally often, though their micro-batches differ.

        That is needed under ZeRO stage 3, which gathers the head's weights from all processes at every call.
        """
        super().__init__()
        self.model = model
        self.in_step = in_step
        self._split: SplitModel | None = None  # of the model as DeepSpeed has changed it

    def forward(
        self, batch: Padded, temperature: float = 1.0, with_entropies: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities (B, T) and entropies (B, T) or None, float32, in nats; 0 where `batch` has no target."""
        self._split = split = self._split or SplitModel(self.model)
        hidden = split.hidden_states(input_ids=batch.tokens[:, :-1], use_cache=False)[:, batch.first - 1 :]
        states, targets = hidden[batch.mask], batch.targets[batch.mask]  # (N, H), (N,)

        def of_states(states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            logp, entropies = at_targets(split.logits(states), targets, temperature, with_entropies)
            return (logp, entropies) if with_entropies else (logp,)

        in_place = [
            torch.zeros_like(batch.mask, dtype=values.dtype).masked_scatter(batch.mask, values)
            for values in self._by_chunks(of_states, states, targets)
        ]
        return in_place[0], in_place[1] if with_entropies else None

    def _by_chunks(self, function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> list[Tensor]:
        """What `function` gives for `tensors` (N, ...), computed for a chunk of their rows at a time."""
        number = self._chunks(len(tensors[0]))
        chunks = zip(*(tensor.tensor_split(number) for tensor in tensors), strict=True)
        if torch.is_grad_enabled():
            results = [checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        else:
            results = [function(*chunk) for chunk in chunks]
        return [torch.cat(values) for values in zip(*results, strict=True)]

    def _chunks(self, targets: int) -> int:
        """Number of chunks for so many `targets`; with `in_step`, the largest number that any process needs."""
        vocabulary_size = self.model.config.get_text_config().vocab_size
        number = max(1, math.ceil(4 * vocabulary_size * targets / CHUNK_BYTES))
        if self.in_step:
            agreed = torch.tensor(number, device=self.model.device)
            dist.all_reduce(agreed, dist.ReduceOp.MAX)
            number = int(agreed)
        return number


def at_targets(
    logits: Tensor, tokens: Tensor, temperature: float, with_entropies: bool
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities (N,) of `tokens` (N,) under `logits` (N, V) at `temperature`, and entropies (N,) or None.

    At least float32, in nats. What this costs is blocks of N by V that are written and read.
    """
    return _AtTargets.apply(logits, tokens, temperature, with_entropies)


class _AtTargets(torch.autograd.Function):
    """`at_targets` with its derivatives: one block more, where those of its parts would write and add five.

    Of z, the logits over the temperature, with p = softmax(z) and H the entropy:
    d log p_t / d z_v = [v = t] - p_v and d H / d z_v = -p_v (log p_v + H).
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, tokens: Tensor, temperature: float, with_entropies: bool
    ) -> tuple[Tensor, Tensor | None]:
        logp = log_probabilities(logits, temperature)
        entropies = entropy(logp) if with_entropies else None
        ctx.save_for_backward(logp, tokens, entropies)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        return logp.gather(-1, tokens[:, None]).squeeze(-1), entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logp: Tensor, of_entropy: Tensor | None) -> tuple[Tensor, None, None, None]:
        logp, tokens, entropies = ctx.saved_tensors
        gradient = logp.exp()
        if entropies is None:
            gradient.mul_(-of_logp[:, None])
        else:
            # Where p is 0, so is the product, though log p is infinite.
            factor = logp.clamp(min=torch.finfo(logp.dtype).min).add_(entropies[:, None]).mul_(-of_entropy[:, None])
            gradient.mul_(factor.sub_(of_logp[:, None]))
        gradient.scatter_add_(-1, tokens[:, None], of_logp[:, None])
        if ctx.temperature != 1:
            gradient.div_(ctx.temperature)
        return gradient.to(ctx.dtype), None, None, None
