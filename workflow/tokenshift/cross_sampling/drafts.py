"""How many tokens the primary drafts before the intervention is asked: chosen from costs measured while running.

With cut probability p, a draft of k tokens yields (1 - (1 - p)^k) / p of them. A rule that looks at both policies pays
k steps of the primary and one verification of k tokens; one that looks at the primary alone asks the intervention only
if a row waits for it. What a round costs beside is not in this model, so the length that it finds best is held against
what rounds have really yielded: where one token at a time has been faster, that is done.
"""

from collections import defaultdict, deque

import numpy as np

LONGEST = 32
WARM_UP = (1, 8) * 4  # draft lengths tried first, to see how verification grows with them
FIRST_PROBE, PROBE_EVERY = 64, 1024  # rounds after which another length is tried, as costs change while rows grow
RECENT = 128  # measurements that count
USUAL = 0.25  # quantile of measured times that stands for them: the first passes of a shape take longer


def expected_tokens(cut: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean number of tokens that drafts of `lengths` (K,) yield at cut probabilities `cut` (N,), in (0, 1): (N, K)."""
    return -np.expm1(lengths * np.log1p(-cut[:, None])) / cut[:, None]


class DraftLengths:
    """Chooses draft lengths, at most `longest`; with `fixed`, always that one."""

    def __init__(self, fixed: int | None, longest: int, primary_alone: bool):
        longest = max(1, longest)
        self.fixed, self.primary_alone = fixed and min(fixed, longest), primary_alone
        self.lengths = np.arange(1, min(LONGEST, longest) + 1)
        # Costs depend on the number of rows: one set of measurements for each of its powers of two.
        self.steps: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self.verifications: dict[int, deque[tuple[int, float]]] = defaultdict(lambda: deque(maxlen=RECENT))
        self.yields: dict[tuple[int, int], deque[tuple[int, float]]] = defaultdict(lambda: deque(maxlen=RECENT))
        self.rounds: dict[int, int] = defaultdict(int)

    def observe_step(self, rows: int, seconds: float) -> None:
        """Note the time of a single-token step of the primary over `rows`."""
        self.steps[rows.bit_length()].append(seconds)

    def observe_verification(self, rows: int, length: int, seconds: float) -> None:
        """Note the time of a verification of drafts of `length` over `rows`."""
        self.verifications[rows.bit_length()].append((length, seconds))

    def observe_round(self, rows: int, length: int, tokens: int, seconds: float) -> None:
        """Note how many tokens a round with drafts of `length` over `rows` decided, and its time."""
        self.yields[rows.bit_length(), length].append((tokens, seconds))

    def choose(self, cut: np.ndarray) -> int:
        """Draft length for rows with cut probabilities `cut` (N,), in (0, 1)."""
        if self.fixed is not None:
            return self.fixed
        rows = len(cut).bit_length()
        number = self.rounds[rows]
        self.rounds[rows] += 1
        if number < len(WARM_UP) or not self.verifications[rows]:
            return int(min(WARM_UP[number % len(WARM_UP)], self.lengths[-1]))
        best = int(self.lengths[self._cost_per_token(rows, cut).argmin()])
        doubled = number >= FIRST_PROBE and number.bit_count() == 1
        if doubled or number % PROBE_EVERY == 0:
            return (int(min(2 * best, self.lengths[-1])), 1, max(1, best // 2))[number.bit_length() % 3]
        return 1 if self._measured(rows, best) > self._measured(rows, 1) else best

    def _measured(self, rows: int, length: int) -> float:
        """Seconds per token of the rounds with drafts of `length`; 0 where none has been measured."""
        if not self.yields[rows, length]:
            return 0.0
        tokens, seconds = np.array(self.yields[rows, length]).T
        return np.quantile(seconds, USUAL) / max(tokens.mean(), 1e-9)

    def _cost_per_token(self, rows: int, cut: np.ndarray) -> np.ndarray:
        """Seconds per token of each of self.lengths."""
        length, seconds = np.array(self.verifications[rows]).T
        tried = np.unique(length)
        usual = np.array([np.quantile(seconds[length == one], USUAL) for one in tried])
        grows = len(tried) > 1 and not self.primary_alone
        slope, start = np.polyfit(tried, usual, 1) if grows else (0.0, usual.min())
        verification = np.maximum(start + slope * self.lengths, usual.min())
        if self.primary_alone:
            verification = verification * (1 - np.prod((1 - cut)[:, None] ** self.lengths, axis=0))
        step = np.quantile(self.steps[rows], USUAL)
        return (self.lengths * step + verification) / expected_tokens(cut, self.lengths).mean(axis=0)
