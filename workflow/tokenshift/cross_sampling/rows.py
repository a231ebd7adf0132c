"""The rows that are decoded together: which prompt and threshold each is at, and how far its response is."""

from dataclasses import dataclass, fields

import numpy as np

from tokenshift.cross_sampling.trace import Trace


@dataclass
class Rows:
    """The state of all rows: arrays (rows,), but for trace, (rows, positions), and finished_traces, a list of lists.

    Args:
        prompt: index of the prompt that the row answers.
        level: index of the threshold that it is decoded at.
        accepted: tokens of the response that are decided.
        drafted: these, and the tokens after them that are drawn by the primary, or reused, but not yet decided.
        reused: first tokens of the response that are known from another threshold.
        over: whether the response has ended.
        trace: what is known of the response at each position.
        finished_traces: those of the prompt's responses at the thresholds before.
    """

    prompt: np.ndarray
    level: np.ndarray
    accepted: np.ndarray
    drafted: np.ndarray
    reused: np.ndarray
    over: np.ndarray
    trace: Trace
    finished_traces: list[list[Trace]]

    @classmethod
    def empty(cls, rows: int, positions: int) -> "Rows":
        """Rows of which nothing is known."""
        counts = (np.zeros(rows, dtype=np.int64) for _ in range(5))
        return cls(*counts, np.zeros(rows, dtype=bool), Trace.empty(rows, positions), [[] for _ in range(rows)])

    def begin(self, row: int, prompt: int) -> None:
        """Let `row` answer a prompt, from the first threshold on."""
        self.prompt[row] = prompt
        self.level[row] = self.accepted[row] = self.drafted[row] = self.reused[row] = 0
        self.over[row] = False
        self.finished_traces[row] = []

    def move(self, target: int, source: int) -> None:
        """Let row `target` go on with what row `source` is doing."""
        for field in fields(self):
            values = getattr(self, field.name)
            values[target] = values[source]
