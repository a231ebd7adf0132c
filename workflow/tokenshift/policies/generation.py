"""Sampling responses from one policy, with the noise given from outside.

Works on token ids alone. Row i's token at position t depends on the prompt, the policy and uniforms[i, t], never on
which other rows are decoded beside it (up to floating-point rounding of batched matrix products). Rows advance
independently: a finished one is refilled from the queue at once.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tokenshift.distributions.sampling import Sampling, draw_with_margins, probabilities
from tokenshift.errors import NotFinite
from tokenshift.policies.cached_policy import row_policy
from tokenshift.policies.decoded import DecodedTokens, refill
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress


class Cancelled(Exception):
    """Generation was given up because it was asked to."""


def never() -> bool:
    """False: goes on to the end."""
    return False


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
    cancelled: Callable[[], bool] = never,
) -> list[list[int]]:
    """Sample one response per prompt; uniforms is (rows, max_new_tokens) in [0, 1).

    Returns token ids, with the end-of-sequence token where it was drawn. With a `name`, reports progress under it. The
    model is used in evaluation mode and left in the mode it was in. `cancelled` is asked before every token.

    Raises:
        StudyError: the model's cache cannot be handled, or its logits are not finite.
        Cancelled: `cancelled` said so.
    """
    was_training = policy.model.training
    policy.model.eval()
    try:
        return _generate(policy, prompts, uniforms, sampling, min(batch_size, len(prompts)), name, cancelled)
    finally:
        policy.model.train(was_training)


def _generate(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    sampling: Sampling,
    rows: int,
    name: str | None,
    cancelled: Callable[[], bool],
) -> list[list[int]]:
    decoded = DecodedTokens(rows, max(map(len, prompts), default=0) + sampling.max_new_tokens)
    cached = row_policy(policy.model, policy.vocabulary_size, decoded)
    responses: list[list[int]] = [[] for _ in prompts]
    # Of each row the prompt that it answers, the tokens of that prompt, and those of its response.
    prompt, starts, lengths = (np.zeros(rows, dtype=np.int64) for _ in range(3))
    queue = deque(range(len(prompts)))
    finished, n_active = np.arange(rows), rows
    with progress(None, name, "response", total=len(prompts)) as bar:
        while True:
            n_active, begun, moved = refill(n_active, finished.tolist(), queue)
            if n_active == 0:
                return responses
            if cancelled():
                raise Cancelled
            for target, source in moved.items():
                decoded.move(target, source, starts[source] + lengths[source])
                for values in (prompt, starts, lengths):
                    values[target] = values[source]
            for row, index in begun.items():
                prompt[row], starts[row], lengths[row] = index, len(prompts[index]), 0
            decoded.begin({row: prompts[index] for row, index in begun.items()})
            active = np.arange(n_active)
            ends = starts[active] + lengths[active]
            probs = probabilities(cached.logits(active, ends - 1), sampling.temperature)
            drawn, _ = draw_tokens(probs, uniforms[prompt[active], lengths[active]], sampling.top_p)
            decoded.write(active, ends, drawn)
            lengths[active] += 1
            finished = np.flatnonzero(
                np.isin(drawn, policy.stop_token_ids) | (lengths[active] == sampling.max_new_tokens)
            )
            for row in finished:
                responses[prompt[row]] = decoded.tokens[row, starts[row] : ends[row] + 1].tolist()
            bar.update(len(finished))


def draw_tokens(probs: Tensor, uniforms: np.ndarray, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (B,) drawn from the nuclei of `probs` (B, V) at `uniforms` (B,), and the margins of the draws (B,).

    Raises StudyError when probabilities are not finite.
    """
    tokens, margins = draw_with_margins(probs, torch.from_numpy(uniforms).to(probs.device), top_p)
    tokens, margins = tokens.cpu().numpy(), margins.cpu().numpy()
    if np.isnan(margins).any():
        raise NotFinite("a model's logits are not finite while it is decoding; check its weights and precision")
    return tokens, margins
