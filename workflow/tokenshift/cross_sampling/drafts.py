"""How many tokens the primary drafts before the intervention is asked: chosen from costs measured while running.

With cut probability p, a draft of k tokens yields (1 - (1 - p)^k) / p of them. A rule that looks at both policies pays
k steps of the primary and one verification of k tokens; one that looks at the primary alone asks the intervention only
if a row waits for it.
"""

from collections import defaultdict, deque

import numpy as np

LONGEST = 32
WARM_UP = (1, 8, 1, 8)  # draft lengths tried first, to see how verification grows with them
PROBE_EVERY = 64  # rounds between trials of another length, as costs change while rows grow
RECENT = 128  # measurements that count


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
        self.rounds: dict[int, int] = defaultdict(int)

    def observe_step(self, rows: int, seconds: float) -> None:
        """Note the time of a single-token step of the primary over `rows`."""
        self.steps[rows.bit_length()].append(seconds)

    def observe_verification(self, rows: int, length: int, seconds: float) -> None:
        """Note the time of a verification of drafts of `length` over `rows`."""
        self.verifications[rows.bit_length()].append((length, seconds))

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
        if number % PROBE_EVERY:
            return best
        return int(min(2 * best, self.lengths[-1])) if number // PROBE_EVERY % 2 else max(1, best // 2)

    def _cost_per_token(self, rows: int, cut: np.ndarray) -> np.ndarray:
        """Seconds per token of each of self.lengths."""
        length, seconds = np.array(self.verifications[rows]).T
        tried = np.unique(length)
        medians = np.array([np.median(seconds[length == one]) for one in tried])
        grows = len(tried) > 1 and not self.primary_alone
        slope, start = np.polyfit(tried, medians, 1) if grows else (0.0, medians.min())
        verification = np.maximum(start + slope * self.lengths, medians.min())
        if self.primary_alone:
            verification = verification * (1 - np.prod((1 - cut)[:, None] ** self.lengths, axis=0))
        step = np.median(self.steps[rows])
        return (self.lengths * step + verification) / expected_tokens(cut, self.lengths).mean(axis=0)
