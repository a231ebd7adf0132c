"""Sampling responses from one policy, with the noise given from outside.

Works on token ids alone. Row i's token at position t depends on the prompt, the policy and uniforms[i, t], never on
which other rows are decoded beside it (up to floating-point rounding of batched matrix products). Rows advance
independently: a finished one is refilled from the queue at once.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch

from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.cached_policy import row_policy
from tokenshift.policies.decoded import DecodedTokens, refill
from tokenshift.policies.draws import Draws
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
    model is used in evaluation mode and left in the mode it was in. `cancelled` is asked before every token, on a GPU
    before every few.

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
            at = starts[active] + lengths[active]
            steps = min(cached.span, sampling.max_new_tokens - int(lengths[active].max()))
            columns = lengths[active, None] + np.arange(steps)
            draws = Draws(uniforms[prompt[active, None], columns], sampling)
            cached.ahead(active, at - 1, np.ones(n_active, dtype=bool), draws.draw, steps)
            drawn = draws.seen()
            stops = np.isin(drawn.tokens, policy.stop_token_ids) & (np.arange(steps) < drawn.held[:, None])
            taken = np.where(stops.any(axis=1), stops.argmax(axis=1) + 1, drawn.held)
            decoded.write(active, at, drawn.tokens, taken)
            lengths[active] += taken
            finished = np.flatnonzero(stops.any(axis=1) | (lengths[active] == sampling.max_new_tokens))
            for row in finished:
                responses[prompt[row]] = decoded.tokens[row, starts[row] : starts[row] + lengths[row]].tolist()
            bar.update(len(finished))
