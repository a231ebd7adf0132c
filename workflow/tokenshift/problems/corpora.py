"""Corpora: problems with written solutions, to train on.

Solutions are either read from a source or written here. Those written here solve sums, for the miniature study, in a
mixture of manners some of which fail: learning which of them are right can then change a model token by token.
"""

import re
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from tokenshift.config.problems import Corpus, WorkedSolutions
from tokenshift.errors import StudyError
from tokenshift.noise import uniforms
from tokenshift.problems.sources import source_rows, text
from tokenshift.schemas import CORPUS

_SUM = re.compile(r"-?[0-9]+( [+-] -?[0-9]+)+")
_GUESS_ERRORS = (-3, -2, -1, 1, 2, 3)
_SLIPS = (-2, -1, 1, 2)
_UNIFORMS_PER_TERM = 3


class _Wording(NamedTuple):
    """How a solution is put into text: what its steps, what stands between them, and the answer look like."""

    begin: str
    step: str
    signs: dict[str, str]
    careful: str
    careless: str
    between: str
    answer: str  # after steps
    end: str


_WORDINGS = {
    "symbols": _Wording("", "{}{}{}{}{}", {"+": "+", "-": "-"}, "=", ":", " ", " ", ""),
    "words": _Wording(" ", "{} {} {} {} {}", {"+": "plus", "-": "minus"}, "is", "makes", ", and ", ", so ", ".\n"),
}


def worked_solutions(problems: pl.DataFrame, settings: WorkedSolutions, seed: int) -> pa.Table:
    """Table (schemas.CORPUS) of solutions of `problems` (schemas.PROBLEMS), which must be sums such as "3 + 4 - 1".

    The k-th solution of a problem depends on `seed`, problem_id and k alone. Raises StudyError at the first problem
    that is no sum of integers.
    """
    solutions = settings.solutions_per_problem
    rows = []
    for problem_id, problem in problems.select("problem_id", "problem").iter_rows():
        if not _SUM.fullmatch(problem):
            raise StudyError(f"problem {problem_id}: {problem!r} is no sum of integers, so it has no worked solution")
        length = _UNIFORMS_PER_TERM * len(_terms(problem))
        for noise in uniforms(seed, "worked-solutions", [problem_id] * solutions, range(solutions), length):
            manner, write = ("guess", _guess) if noise[0] < settings.guess else ("steps", _steps)
            solution = write(problem, noise, settings)
            rows.append({"problem_id": problem_id, "problem": problem, "solution": solution, "manner": manner})
    return pa.Table.from_pylist(rows, schema=CORPUS)


def written_solutions(name: str, corpus: Corpus) -> pa.Table:
    """Table (schemas.CORPUS) of the corpus `name`, read from its source.

    Raises StudyError at the first row that cannot be used, and when there is none.
    """
    where = f"corpora.{name}"
    rows = [
        {
            "problem_id": f"{name}-{number:05d}",
            "problem": text(row, corpus.problem_column, "problem", f"{where}.problem_column"),
            "solution": text(row, corpus.solution_column, "solution", f"{where}.solution_column"),
            "manner": "written",
        }
        for number, row in enumerate(source_rows(corpus, where))
    ]
    if not rows:
        raise StudyError(f"{where}: the source holds no solutions")
    return pa.Table.from_pylist(rows, schema=CORPUS)


def _terms(problem: str) -> list[tuple[str, int]]:
    """The terms of a sum, each with its sign: "3 + 4 - 1" is [("+", 3), ("+", 4), ("-", 1)]."""
    words = ["+", *problem.split(" ")]
    return [(sign, int(term)) for sign, term in zip(words[::2], words[1::2], strict=True)]


def _guess(problem: str, noise: np.ndarray, settings: WorkedSolutions) -> str:
    r"""The answer at once, right or off by a little: "\boxed{6}". Uses `noise[1:3]`."""
    answer = sum(term if sign == "+" else -term for sign, term in _terms(problem))
    error = 0 if noise[1] < settings.guess_right else _pick(_GUESS_ERRORS, noise[2])
    wording = _WORDINGS[settings.wording]
    return wording.begin + _boxed(answer + error) + wording.end


def _steps(problem: str, noise: np.ndarray, settings: WorkedSolutions) -> str:
    r"""One term after the other: "3+4=7 7-1:6 \boxed{6}". Step i (from 1) uses `noise[3 * i : 3 * i + 3]`.

    A step with "=" is right. One with ":" may be off by a little, and the next step goes on from what is written.
    """
    wording = _WORDINGS[settings.wording]
    (_, written), *terms = _terms(problem)
    steps = []
    for step, (sign, term) in enumerate(terms, start=1):
        careful, slips, error = noise[_UNIFORMS_PER_TERM * step : _UNIFORMS_PER_TERM * (step + 1)]
        mark = wording.careful if careful < settings.careful else wording.careless
        result = written + term if sign == "+" else written - term
        if mark == wording.careless and slips < settings.slip:
            result += _pick(_SLIPS, error)
        steps.append(wording.step.format(written, wording.signs[sign], term, mark, result))
        written = result
    return wording.begin + wording.between.join(steps) + wording.answer + _boxed(written) + wording.end


def _boxed(answer: int) -> str:
    return rf"\boxed{{{answer}}}"


def _pick(values: tuple[int, ...], uniform: float) -> int:
    return values[int(uniform * len(values))]
