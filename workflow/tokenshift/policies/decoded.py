"""The tokens of rows that are decoded side by side."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

NextTokens = Callable[[Tensor], Tensor]  # from logits (N, V), token ids (N,), on the same device


class RowPolicy(Protocol):
    """A policy that computes the rows of DecodedTokens, and what it has cached of them.

    advances_alone: whether a row can be taken back, and run along beside others, at no cost. span: tokens that `ahead`
    draws at most. computed: positions computed so far, padding included; needed: without it.
    """

    cached: np.ndarray
    advances_alone: bool
    span: int
    forwards: int
    prefills: int
    computed: int
    needed: int

    def borrow(self, row: int, length: int) -> None:
        """Take over what another row has cached of the first `length` tokens of `row`."""

    def prefill(self, rows: np.ndarray, ends: np.ndarray) -> None:
        """Cache the tokens of `rows` before `ends`."""

    def logits(self, rows: np.ndarray, positions: np.ndarray, lag: int = 0) -> Tensor:
        """Next-token logits (N, V) after the tokens at `positions` of `rows` (N each)."""

    def ahead(self, rows: np.ndarray, positions: np.ndarray, going: np.ndarray, draw: NextTokens, steps: int) -> None:
        """Let `draw` draw a token from each of the next logits of `rows`, `steps` times, one after another.

        The first logits are those after `positions`, the next those after the tokens drawn, and so on; rows that are
        not `going` (N,) have the first logits again. `DecodedTokens.write` is to be told of the tokens.
        """


def refill(active: int, finished: Sequence[int], queue: deque[int]) -> tuple[int, dict[int, int], dict[int, int]]:
    """What becomes of finished rows: the prompt that each takes from `queue`, or else the row that moves into it.

    The `active` rows are always the first ones. With the queue empty, the last of them move, and fewer are active: how
    many is told first.
    """
    begun = {row: queue.popleft() for row in sorted(finished)[: len(queue)]}
    empty = set(finished) - set(begun)
    left = active - len(empty)
    sources = [row for row in range(left, active) if row not in empty]
    return left, begun, dict(zip((row for row in sorted(empty) if row < left), sources, strict=True))


class DecodedTokens:
    """Tokens of the rows that a policy decodes, prompts and responses; what it has cached of them follows every change.

    Tokens beyond a row's own length may be stale.
    """

    policy: RowPolicy  # which says so itself

    def __init__(self, rows: int, longest: int):
        self.tokens = np.zeros((rows, longest), dtype=np.int64)

    def write(
        self, rows: np.ndarray, positions: np.ndarray, tokens: np.ndarray, drawn_ahead: np.ndarray | int = 1
    ) -> None:
        """Put `tokens` (N,) at `positions` of `rows` (N each); the cache of these rows is valid up to there.

        Or put the first `drawn_ahead` (N,) of `tokens` (N, steps) there and behind; the cache, which has seen each of
        them drawn, is then valid up to the last of them.
        """
        tokens = tokens[:, None] if tokens.ndim == 1 else tokens
        behind = np.arange(tokens.shape[1])
        row, step = np.nonzero(behind < np.broadcast_to(drawn_ahead, len(rows))[:, None])
        self.tokens[rows[row], positions[row] + step] = tokens[row, step]
        self.policy.cached[rows] = np.minimum(self.policy.cached[rows], positions + drawn_ahead - 1)

    def replace(self, row: int, tokens: Sequence[int]) -> None:
        """Make `tokens` the sequence of `row`; its cache stays valid up to the first token that changes."""
        same = common_prefix(self.tokens[row, : len(tokens)], np.asarray(tokens))
        self.tokens[row, same : len(tokens)] = tokens[same:]
        self.policy.cached[row] = min(self.policy.cached[row], same)

    def begin(self, prompts: dict[int, Sequence[int]]) -> None:
        """Make prompts the sequences of rows and cache all but their last tokens, each distinct prompt once."""
        for row, prompt in prompts.items():
            self.replace(row, prompt)
            self.policy.borrow(row, len(prompt) - 1)
        leaders = {tuple(prompt): row for row, prompt in reversed(prompts.items())}
        self.policy.prefill(
            np.array([*leaders.values()], dtype=np.int64), np.array([len(prompt) - 1 for prompt in leaders])
        )
        for row, prompt in prompts.items():
            self.policy.borrow(row, len(prompt) - 1)

    def move(self, target: int, source: int, length: int) -> None:
        """Let `target` hold what `source` does, its first `length` tokens."""
        self.replace(target, self.tokens[source, :length])
        self.policy.borrow(target, length)


def common_prefix(tokens: np.ndarray, others: np.ndarray) -> int:
    """How many first tokens of two arrays of one length agree."""
    differ = tokens != others
    return int(differ.argmax()) if differ.any() else len(tokens)
