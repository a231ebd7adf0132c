"""Sampling responses from one policy, with the noise given from outside.

Works on token ids alone. Row i's token at position t depends on the prompt, the policy and uniforms[i, t], never on
which other rows share its batch (up to floating-point rounding of batched matrix products).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from tokenshift.models import vocabulary
from tokenshift.progress import progress
from tokenshift.sampling import Sampling, draw


@dataclass(frozen=True)
class Policy:
    """A model with what decoding needs to know of it."""

    model: PreTrainedModel
    stop_token_ids: tuple[int, ...]  # any of these ends a response
    vocabulary_size: int  # outputs beyond are padding rows, never drawn

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> "Policy":
        """Policy of `model`: ends at its generation config's end-of-sequence tokens or the tokenizer's."""
        configured = model.generation_config.eos_token_id
        stops = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        return cls(model, tuple(sorted(stops - {None})), len(vocabulary(tokenizer)))


class Decoding:
    """One policy's state while a batch is decoded: cache, mask, positions, and the logits of the next token.

    Prompts are padded on the left, so that all rows grow at the same end.
    """

    def __init__(self, policy: Policy, prompts: Sequence[Sequence[int]]):
        self.policy = policy
        device = policy.model.device
        longest = max(map(len, prompts))
        tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
        self.mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, longest - len(prompt) :] = 1
        self.mask = self.mask.to(device)
        self.cache = DynamicCache(config=policy.model.config)
        self._forward(tokens.to(device), (self.mask.cumsum(-1) - 1).clamp(min=0))

    def _forward(self, tokens: Tensor, positions: Tensor) -> None:
        output = self.policy.model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits = output.logits[:, -1, : self.policy.vocabulary_size]  # (B, V)

    def append(self, tokens: Tensor) -> None:
        """Extend every row by its token (B,) and compute the next logits."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=-1)
        self._forward(tokens[:, None], self.mask.sum(-1, keepdim=True) - 1)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but `rows` (indices)."""
        self.mask, self.logits = self.mask[rows], self.logits[rows]
        self.cache.batch_select_indices(rows)


def is_stop(tokens: Tensor, policy: Policy) -> Tensor:
    """Whether each of `tokens` ends a response of `policy`."""
    return torch.isin(tokens, torch.tensor(policy.stop_token_ids, device=tokens.device))


def batches(rows: int, batch_size: int) -> list[slice]:
    """Consecutive slices of at most `batch_size` that cover `rows`."""
    return [slice(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size)]


@torch.inference_mode()
def generate(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    sampling: Sampling,
    batch_size: int,
    name: str | None = None,
) -> list[list[int]]:
    """Sample one response per prompt; uniforms is (rows, max_new_tokens) in [0, 1).

    Returns token ids, with the end-of-sequence token where it was drawn. With a `name`, reports progress under it. The
    model is used in evaluation mode and left in the mode it was in.
    """
    was_training = policy.model.training
    policy.model.eval()
    responses: list[list[int]] = []
    with progress(None, name, "response", total=len(prompts)) as bar:
        for rows in batches(len(prompts), batch_size):
            responses += _generate_batch(policy, prompts[rows], uniforms[rows], sampling, bar)
    policy.model.train(was_training)
    return responses


def _generate_batch(
    policy: Policy, prompts: Sequence[Sequence[int]], uniforms: np.ndarray, sampling: Sampling, bar: tqdm
) -> list[list[int]]:
    device = policy.model.device
    noise = torch.from_numpy(uniforms).to(device)
    decoding = Decoding(policy, prompts)
    responses = torch.zeros(len(prompts), sampling.max_new_tokens, dtype=torch.long, device=device)
    lengths = torch.full((len(prompts),), sampling.max_new_tokens, device=device)
    alive = torch.arange(len(prompts), device=device)  # which response each row of the batch writes
    for position in range(sampling.max_new_tokens):
        tokens = draw(decoding.logits, noise[alive, position], sampling)
        responses[alive, position] = tokens
        going = ~is_stop(tokens, policy)
        lengths[alive[~going]] = position + 1
        rows = going.nonzero().squeeze(-1)
        bar.update(len(alive) - len(rows))
        if len(rows) == 0 or position + 1 == sampling.max_new_tokens:
            break
        if len(rows) < len(alive):
            alive, tokens = alive[rows], tokens[rows]
            decoding.keep(rows)
        decoding.append(tokens)
    return [response[:length] for response, length in zip(responses.tolist(), lengths.tolist(), strict=True)]
