"""Log-probabilities of given tokens, and entropies, without a float32 copy of all logits.

The float32 softmax of B x T x V logits is what fills the memory first: it is taken over a few sequences at a time, and
taken again in the backward pass instead of being kept.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tokenshift.training.batches import Padded

CHUNK_BYTES = 2**28  # of float32 logits at once


def target_logits(model: nn.Module, batch: Padded) -> Tensor:
    """Logits (B, T - first, V) from which `batch`'s tokens from `first` on are predicted."""
    kept = batch.tokens.shape[1] - batch.first
    return model(input_ids=batch.tokens[:, :-1], logits_to_keep=kept, use_cache=False).logits


def log_probs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities (B, T), float32, of `tokens` (B, T) under `logits` (B, T, V) at `temperature`."""

    def of(logits: Tensor, tokens: Tensor) -> Tensor:
        scaled = logits.float() / temperature
        return scaled.gather(-1, tokens[..., None]).squeeze(-1) - scaled.logsumexp(-1)

    return _by_sequences(of, logits, tokens)


def entropies(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropies (B, T), float32, in nats, of the distributions of `logits` (B, T, V) at `temperature`."""

    def of(logits: Tensor) -> Tensor:
        logp = torch.log_softmax(logits.float() / temperature, dim=-1)
        return -(logp.exp() * logp).sum(-1)

    return _by_sequences(of, logits)


def _by_sequences(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    logits = tensors[0]
    rows = max(1, CHUNK_BYTES // (4 * logits[0].numel()))
    chunks = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([function(*chunk) for chunk in chunks])
    return torch.cat([checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks])
