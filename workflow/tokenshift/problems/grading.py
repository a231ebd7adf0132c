"""Grading: whether the answer found in a response is the reference answer, by mathematics where that is needed.

What a model writes is untrusted: comparing it with a reference may run for ever, fill the memory or crash. Comparisons
therefore happen in worker processes whose memory and processor time are limited. An answer whose comparison ends at a
limit counts as wrong. The time is that of the processor, so that no verdict depends on how busy the machine is.
"""

import logging
import re
import resource
import signal
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Self

from pebble import ProcessExpired, ProcessPool

from tokenshift.problems.answers import last_boxed
from tokenshift.problems.equality import equal, readable
from tokenshift.problems.kinds import same

LONGEST_ANSWER = 2000  # characters; a longer answer is wrong unread
WAITING = 60  # times the processor time: a worker that has not answered by then waits for something that never comes

_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Grade:
    """The answer found in a response (None where there is none), and whether it is correct."""

    extracted_answer: str | None
    correct: bool


class Grader:
    """Grades responses with `workers` processes, which are started for the first comparison that needs one.

    Each comparison may take `cpu_s` seconds of processor time and `memory_mb` MB of address space. Verdicts are kept,
    so that the same comparison costs nothing a second time. A grader is a context manager: leaving it ends its
    processes.
    """

    def __init__(self, workers: int = 1, cpu_s: float = 5.0, memory_mb: int = 1024):
        self._workers = workers
        self._cpu_s = cpu_s
        self._memory_mb = memory_mb
        self._verdicts: dict[tuple[str, str, str | None], bool] = {}  # by kind, reference answer and answer
        self._pool: ProcessPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def grade(self, kinds: Sequence[str], golds: Sequence[str], responses: Sequence[str]) -> list[Grade]:
        """Grades of `responses`, each against the reference answer at its place in `golds`, of the kind in `kinds`.

        The answer of a response is the content of its last box (`last_boxed`). It is correct when it is the reference
        answer to the letter, or the same in the sense of its kind (tokenshift.problems.kinds and equality).
        """
        given = zip(kinds, golds, responses, strict=True)
        comparisons = [(kind, gold.strip(), last_boxed(response)) for kind, gold, response in given]
        new = [comparison for comparison in dict.fromkeys(comparisons) if comparison not in self._verdicts]
        verdicts = {comparison: _verdict_without_mathematics(*comparison) for comparison in new}
        undecided = [comparison for comparison in new if verdicts[comparison] is None]
        equals = self._in_workers(equal, [(gold, answer) for _, gold, answer in undecided])
        self._verdicts |= verdicts | dict(zip(undecided, equals, strict=True))
        return [Grade(comparison[-1], self._verdicts[comparison]) for comparison in comparisons]

    def unparsable(self, golds: Sequence[str]) -> list[int]:
        """Places in `golds`, in increasing order, of the reference answers that math-verify cannot read (in time)."""
        questionable = [gold for gold in dict.fromkeys(golds) if not _INTEGER.fullmatch(gold.strip())]
        read = dict(zip(questionable, self._in_workers(readable, [(gold,) for gold in questionable]), strict=True))
        return [place for place, gold in enumerate(golds) if not read.get(gold, True)]

    def _in_workers(self, question: Callable[..., bool], arguments: Iterable[tuple[str, ...]]) -> list[bool]:
        """Answers to `question` of each of `arguments`; False where it was not answered within the limits."""
        waiting = WAITING * self._cpu_s
        answers = [
            self._running_pool().schedule(_within, (self._cpu_s, question, *given), timeout=waiting)
            for given in arguments
        ]
        return [_answer_or_false(answer) for answer in answers]

    def _running_pool(self) -> ProcessPool:
        if self._pool is None:
            self._pool = ProcessPool(
                self._workers, initializer=_prepare_worker, initargs=(self._memory_mb,), context=_LeanContext()
            )
        return self._pool


def _verdict_without_mathematics(kind: str, gold: str, answer: str | None) -> bool | None:
    """Whether `answer` is the reference answer `gold` of that kind; None where only mathematics can say."""
    if answer is None:
        return False
    if answer == gold:
        return True
    if len(answer) > LONGEST_ANSWER:
        return False
    if kind != "math":
        return same(kind, gold, answer)
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        return int(gold) == int(answer)
    return None


def _answer_or_false(answer: Future[bool]) -> bool:
    try:
        return answer.result()
    except (TimeoutError, ProcessExpired, MemoryError, RecursionError):
        return False
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):  # SymPy's, of nonsense
        return False


class _LeanProcess(SpawnProcess):
    """A spawned process that does not import what the main script imports: scripts load torch, workers must not."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _LeanContext(SpawnContext):
    Process = _LeanProcess


def _prepare_worker(memory_mb: int) -> None:
    import math_verify  # noqa: F401  (imported before the first comparison's time begins to run)

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _within(cpu_s: float, question: Callable[..., bool], *arguments: str) -> bool:
    """The answer to `question`; the process dies (SIGPROF) when it has taken `cpu_s` seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return question(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
