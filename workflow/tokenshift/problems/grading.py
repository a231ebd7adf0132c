"""Grading: whether the answer found in a response is the reference answer, by math-verify where that takes mathematics.

What a model writes is untrusted: comparing it with a reference may run for ever, fill the memory or crash. Comparisons
therefore happen in worker processes whose memory is limited and which are killed at a deadline. An answer whose
comparison ends in any of these ways counts as wrong.
"""

import logging
import re
import resource
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Self

from pebble import ProcessExpired, ProcessPool

from tokenshift.problems.answers import last_boxed

LONGEST_ANSWER = 2000  # characters; a longer answer is wrong unread

_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Grade:
    """The answer found in a response (None where there is none), and whether it is correct."""

    extracted_answer: str | None
    correct: bool


class Grader:
    """Grades responses with `workers` processes, which are started for the first comparison that needs one.

    Each comparison may take `deadline_s` seconds and `memory_mb` MB of address space. Verdicts are kept, so that the
    same comparison costs nothing a second time. A grader is a context manager: leaving it ends its processes.
    """

    def __init__(self, workers: int = 1, deadline_s: float = 5.0, memory_mb: int = 2048):
        self._workers = workers
        self._deadline_s = deadline_s
        self._memory_mb = memory_mb
        self._verdicts: dict[tuple[str, str | None], bool] = {}  # by reference answer and answer
        self._pool: ProcessPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def grade(self, golds: Sequence[str], responses: Sequence[str]) -> list[Grade]:
        """Grades of `responses`, each against the reference answer at the same place of `golds`.

        The answer of a response is the content of its last box (`last_boxed`). It is correct when it is the reference
        answer to the letter, or when math-verify finds both equal.
        """
        comparisons = [(gold.strip(), last_boxed(response)) for gold, response in zip(golds, responses, strict=True)]
        new = [comparison for comparison in dict.fromkeys(comparisons) if comparison not in self._verdicts]
        verdicts = {comparison: _verdict_without_mathematics(*comparison) for comparison in new}
        undecided = [comparison for comparison in new if verdicts[comparison] is None]
        self._verdicts |= verdicts | dict(zip(undecided, self._in_workers(_equal, undecided), strict=True))
        return [Grade(answer, self._verdicts[gold, answer]) for gold, answer in comparisons]

    def unparsable(self, golds: Sequence[str]) -> list[int]:
        """Places in `golds`, in increasing order, of the reference answers that math-verify cannot read (in time)."""
        questionable = [gold for gold in dict.fromkeys(golds) if not _INTEGER.fullmatch(gold.strip())]
        verdicts = self._in_workers(_readable, [(gold,) for gold in questionable])
        readable = dict(zip(questionable, verdicts, strict=True))
        return [place for place, gold in enumerate(golds) if not readable.get(gold, True)]

    def _in_workers(self, question: Callable[..., bool], arguments: Iterable[tuple[str, ...]]) -> list[bool]:
        """Answers to `question` of each of `arguments`; False where it was not answered within the limits."""
        answers = [self._running_pool().schedule(question, args, timeout=self._deadline_s) for args in arguments]
        return [_answer_or_false(answer) for answer in answers]

    def _running_pool(self) -> ProcessPool:
        if self._pool is None:
            self._pool = ProcessPool(
                self._workers, initializer=_prepare_worker, initargs=(self._memory_mb,), context=_LeanContext()
            )
        return self._pool


def _verdict_without_mathematics(gold: str, answer: str | None) -> bool | None:
    """Whether `answer` is the reference answer `gold`; None where only math-verify can say."""
    if answer is None:
        return False
    if answer == gold:
        return True
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        return int(gold) == int(answer)
    return None if len(answer) <= LONGEST_ANSWER else False


def _answer_or_false(answer: Future[bool]) -> bool:
    try:
        return answer.result()
    except (TimeoutError, ProcessExpired, MemoryError, RecursionError):
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
    import math_verify  # noqa: F401  (imported before the first deadline begins to run)

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _parse(answer: str, **options: str) -> list:
    from math_verify import parse

    # Without math-verify's own timeout: it needs SIGALRM, and does not stop arithmetic on big integers.
    return parse(rf"\boxed{{{answer}}}", parsing_timeout=None, **options)


def _readable(gold: str) -> bool:
    return bool(_parse(gold, fallback_mode="no_fallback"))


def _equal(gold: str, answer: str) -> bool:
    from math_verify import verify

    return verify(_parse(gold), _parse(answer), timeout_seconds=None)
