"""Log-probabilities of given tokens, and entropies, without ever holding all logits.

B x T x V logits are what fills the memory first. They are computed for a few targets at a time, from the decoder's
hidden states, and once more in the backward pass instead of being kept.
"""

import math
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tokenshift.policies.forward import own_head
from tokenshift.training.batches import Padded

CHUNK_BYTES = 2**28  # of float32 logits at once


class TokenModel(nn.Module):
    """A causal LM that maps a batch to the log-probabilities, and if asked the entropies, at its targets."""

    def __init__(self, model: PreTrainedModel, in_step: bool = False):
        """`in_step`: all processes call the output head equally often, though their batches differ.

        Needed under ZeRO stage 3, which gathers the head's weights at every call, from all processes.
        """
        super().__init__()
        self.model = model
        self.in_step = in_step

    def forward(
        self, batch: Padded, temperature: float = 1.0, with_entropies: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities (B, T) and entropies (B, T) or None, float32, in nats; 0 where `batch` has no target."""
        decoder = self.model.get_decoder()
        hidden = decoder(input_ids=batch.tokens[:, :-1], use_cache=False).last_hidden_state[:, batch.first - 1 :]
        states, targets = hidden[batch.mask], batch.targets[batch.mask]  # (N, H), (N,)

        def of_states(states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            logits = self._logits(states)
            logp = log_probs(logits, targets, temperature)
            return (logp, entropies(logits, temperature)) if with_entropies else (logp,)

        found = self._by_chunks(of_states, states, targets)
        spread = [
            torch.zeros_like(batch.mask, dtype=values.dtype).masked_scatter(batch.mask, values) for values in found
        ]
        return spread[0], spread[1] if with_entropies else None

    def _logits(self, states: Tensor) -> Tensor:
        """Logits (N, V) from final hidden states (N, H), with all that the architecture does after its decoder."""
        with own_head(self.model) as head:
            return head(states)

    def _by_chunks(self, function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> list[Tensor]:
        number = self._chunks(len(tensors[0]))
        chunks = zip(*(tensor.tensor_split(number) for tensor in tensors), strict=True)
        if torch.is_grad_enabled():
            parts = [checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        else:
            parts = [function(*chunk) for chunk in chunks]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _chunks(self, targets: int) -> int:
        """How many chunks `targets` targets are cut into; in step, as many as any process needs."""
        vocabulary_size = self.model.config.get_text_config().vocab_size
        number = max(1, math.ceil(4 * vocabulary_size * targets / CHUNK_BYTES))
        if self.in_step:
            agreed = torch.tensor(number, device=self.model.device)
            dist.all_reduce(agreed, dist.ReduceOp.MAX)
            number = int(agreed)
        return number


def log_probs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (N,), at least float32, of `tokens` (N,) under `logits` (N, V) at `temperature`."""
    scaled = _wide(logits) / temperature
    return scaled.gather(-1, tokens[..., None]).squeeze(-1) - scaled.logsumexp(-1)


def entropies(logits: Tensor, temperature: float) -> Tensor:
    """Entropies (N,), at least float32, in nats, of the distributions of `logits` (N, V) at `temperature`."""
    logp = torch.log_softmax(_wide(logits) / temperature, dim=-1)
    return -(logp.exp() * logp).sum(-1)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
