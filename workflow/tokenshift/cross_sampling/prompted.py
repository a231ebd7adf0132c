"""One of the two policies along the responses that are decoded, which it reads after its own prompts."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tokenshift.policies.cached_policy import row_policy
from tokenshift.policies.captured import sent
from tokenshift.policies.decoded import DecodedTokens, NextTokens
from tokenshift.policies.policy import Policy


class PromptedPolicy:
    """A policy with its prompts, and its tokens and caches of the rows that are decoded side by side.

    Positions are those of responses. Only tokens that both policies have, `shared_ids`, are ever drawn.
    """

    def __init__(
        self, policy: Policy, prompts: Sequence[Sequence[int]], n_rows: int, positions: int, shared_ids: np.ndarray
    ):
        self.prompts = prompts
        self.tokens = DecodedTokens(n_rows, max(map(len, prompts)) + positions)
        vocabulary_size = int(shared_ids[-1]) + 1
        self.computing = row_policy(policy.model, vocabulary_size, self.tokens)
        self.start = np.zeros(n_rows, dtype=np.int64)  # tokens of the prompt that each row answers
        hidden = np.setdiff1d(np.arange(vocabulary_size), shared_ids)
        self._hidden = torch.from_numpy(hidden)

    def logits(self, rows: np.ndarray, positions: np.ndarray, lag: int = 0) -> Tensor:
        """Logits (N, V) from which the tokens at `positions` of `rows` (N each) are drawn.

        Rows with more than `lag` tokens to cache before their first position are prefilled first.
        """
        return self._shared(self.computing.logits(rows, self.start[rows] + positions - 1, lag))

    def _shared(self, logits: Tensor) -> Tensor:
        self._hidden = self._hidden.to(logits.device)
        return logits.index_fill(-1, self._hidden, -torch.inf) if len(self._hidden) else logits

    def ahead_of_some(
        self, going: np.ndarray, active: np.ndarray, positions: np.ndarray, draw: NextTokens, steps: int
    ) -> None:
        """Let `draw` draw `steps` tokens, one after another, at `positions` of the rows `going`.

        The other `active` rows are run along when they are the fewer, on a token that is cached: no cache is copied.
        """
        if 2 * len(going) <= len(active) or not self.computing.advances_alone:
            everyone = np.ones(len(going), dtype=bool)
            before = self.start[going] + positions - 1
            self.computing.ahead(going, before, everyone, lambda logits: draw(self._shared(logits)), steps)
            return
        beside = np.maximum(self.computing.cached, 1) - 1
        beside[going] = self.start[going] + positions - 1
        is_going = np.isin(active, going)
        if is_going.all():
            self.computing.ahead(active, beside[active], is_going, lambda logits: draw(self._shared(logits)), steps)
            return

        def drawn_of_some(logits: Tensor) -> Tensor:
            there = sent(np.flatnonzero(is_going), logits.device)
            drawn = draw(self._shared(logits[there]))
            return drawn.new_zeros(len(active)).index_copy(0, there, drawn)

        self.computing.ahead(active, beside[active], is_going, drawn_of_some, steps)

    def write(
        self, rows: np.ndarray, positions: np.ndarray, tokens: np.ndarray, drawn_ahead: np.ndarray | int = 1
    ) -> None:
        """Put `tokens` at `positions` of the responses of `rows`, as DecodedTokens.write does."""
        self.tokens.write(rows, self.start[rows] + positions, tokens, drawn_ahead)

    def respond(self, row: int, response: np.ndarray) -> None:
        """Make `response` that of `row`, to the prompt that it answers."""
        prompt = self.tokens.tokens[row, : self.start[row]]
        self.tokens.replace(row, np.concatenate([prompt, response]))

    def begin(self, begun: dict[int, int]) -> None:
        """Let rows answer the prompts of these indices."""
        prompts = {row: self.prompts[index] for row, index in begun.items()}
        for row, prompt in prompts.items():
            self.start[row] = len(prompt)
        self.tokens.begin(prompts)

    def move(self, target: int, source: int, length: int) -> None:
        """Let `target` hold what `source` does, with the first `length` tokens of its response."""
        self.tokens.move(target, source, self.start[source] + length)
        self.start[target] = self.start[source]
