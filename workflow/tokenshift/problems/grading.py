"""Answers: found in a response, checked against a reference with math-verify.

What a model writes is untrusted: checking it may run for ever, fill the memory or crash. It therefore happens in other
processes, with a limit on memory, which are killed at a deadline; a pair that ends so counts as wrong.
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

LONGEST_ANSWER = 2000  # characters; what is longer is wrong unread

_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Grade:
    """The answer found in a response (None: there is none), and whether it is correct."""

    extracted_answer: str | None
    correct: bool


def last_box(text: str) -> slice | None:
    r"""Where the content of the last complete \boxed{...} of `text` is, or None. Time is linear in the text's length.

    Last means the one that opens last: of nested boxes the innermost. Escaped braces do not count.
    """
    opened: list[tuple[int, bool]] = []  # where the content begins, and whether it is a box's
    last = None
    for brace in _BRACES.finditer(text):
        if brace[0].endswith("{") and brace[0] != r"\{":
            opened.append((brace.end(), brace[0] != "{"))
        elif brace[0] == "}" and opened:
            start, boxed = opened.pop()
            if boxed and (last is None or start > last[0]):
                last = (start, brace.start())
    return None if last is None else slice(*last)


def last_boxed(text: str) -> str | None:
    """Content of the last box (`last_box`), stripped, or None."""
    box = last_box(text)
    return None if box is None else text[box].strip()


class Grader:
    """Checks answers with `workers` processes, which start with the first pair that needs one.

    Each pair may take `deadline_s` seconds and `memory_mb` MB of address space. The verdict on a pair is kept, so a
    pair that comes again costs nothing. A context manager: leaving it ends the processes.
    """

    def __init__(self, workers: int = 1, deadline_s: float = 5.0, memory_mb: int = 2048):
        self._workers = workers
        self._deadline_s = deadline_s
        self._memory_mb = memory_mb
        self._verdicts: dict[tuple[str, str | None], bool] = {}
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

        The answer is the content of the last box (`last_boxed`). It is correct when it is the reference answer to the
        letter, or when math-verify finds both equal.
        """
        pairs = [(gold.strip(), last_boxed(response)) for gold, response in zip(golds, responses, strict=True)]
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._verdicts]
        verdicts = {pair: _verdict(*pair) for pair in new}
        unknown = [pair for pair in new if verdicts[pair] is None]
        self._verdicts |= verdicts | dict(zip(unknown, self._ask(_agree, unknown), strict=True))
        return [Grade(pair[1], self._verdicts[pair]) for pair in pairs]

    def unparsable(self, golds: Sequence[str]) -> list[int]:
        """Places in `golds` of the reference answers that math-verify cannot read (in time), in increasing order."""
        unknown = [gold for gold in dict.fromkeys(golds) if not _INTEGER.fullmatch(gold.strip())]
        parsed = dict(zip(unknown, self._ask(_parses, [(gold,) for gold in unknown]), strict=True))
        return [place for place, gold in enumerate(golds) if not parsed.get(gold, True)]

    def _ask(self, question: Callable[..., bool], arguments: Iterable[tuple[str, ...]]) -> list[bool]:
        answers = [self._running_pool().schedule(question, args, timeout=self._deadline_s) for args in arguments]
        return [_result(answer) for answer in answers]

    def _running_pool(self) -> ProcessPool:
        if self._pool is None:
            self._pool = ProcessPool(
                self._workers, initializer=_prepare_worker, initargs=(self._memory_mb,), context=_LeanContext()
            )
        return self._pool


def _verdict(gold: str, answer: str | None) -> bool | None:
    """Whether `answer` is correct, where that needs no mathematics; else None."""
    if answer is None:
        return False
    if answer == gold:
        return True
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        return int(gold) == int(answer)
    return None if len(answer) <= LONGEST_ANSWER else False


def _result(answer: Future[bool]) -> bool:
    try:
        return answer.result()
    except (TimeoutError, ProcessExpired, MemoryError, RecursionError):
        return False


class _LeanProcess(SpawnProcess):
    """A spawned process that does not run the main script's imports: scripts load torch, grading must not."""

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
    import math_verify  # noqa: F401  before the first deadline begins to run

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _parse(answer: str, **options: str) -> list:
    from math_verify import parse

    # No timeout of math-verify's own: it needs SIGALRM, and does not stop big-integer arithmetic.
    return parse(rf"\boxed{{{answer}}}", parsing_timeout=None, **options)


def _parses(gold: str) -> bool:
    return bool(_parse(gold, fallback_mode="no_fallback"))


def _agree(gold: str, answer: str) -> bool:
    from math_verify import verify

    return verify(_parse(gold), _parse(answer), timeout_seconds=None)
