"""Problem sets: generated or read, checked, and numbered."""

import dataclasses
import json
import re
from collections.abc import Iterator, Set
from itertools import islice
from typing import Any

import pyarrow as pa

from tokenshift.config.problems import Columns, ProblemSet, ReasoningGym
from tokenshift.errors import StudyError, nearest
from tokenshift.problems.grading import Grader
from tokenshift.problems.sources import Row, source_rows, text
from tokenshift.schemas import PROBLEMS

# A generator of which fewer than one item in so many is a usable problem has run dry.
TRIES_PER_PROBLEM = 1000


@dataclasses.dataclass(frozen=True)
class _Problem:
    where: str  # the words in which messages say where it stands in the source
    problem_id: str | None
    problem: str
    answer: str
    metadata: dict[str, Any]


def build_problems(name: str, problem_set: ProblemSet, excluded: Set[str], grader: Grader) -> pa.Table:
    """Table (schemas.PROBLEMS) of the problem set `name`, in the order of its source.

    Problems whose text is in `excluded` are left out. So are repeated texts where problems are generated, or where the
    set is to be deduplicated. Raises StudyError at the first row that cannot be used, when no row is left, and when
    math-verify cannot read an answer.
    """
    setting = f"problems.{name}"
    unique = problem_set.deduplicate or problem_set.reasoning_gym is not None
    usable = _without_excluded(_source_problems(problem_set, setting), excluded, unique)
    problems = list(islice(usable, problem_set.size))
    _check_size(problems, problem_set, bool(excluded), setting)
    _check_unique_ids(problems)
    _check_answers(problems, grader)
    rows = [
        {
            "problem_id": problem.problem_id or f"{name}-{number:05d}",
            "problem": problem.problem,
            "answer": problem.answer,
            "metadata": json.dumps(problem.metadata, sort_keys=True, default=str),
        }
        for number, problem in enumerate(problems)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEMS)


def _source_problems(problem_set: ProblemSet, setting: str) -> Iterator[_Problem]:
    """All problems of the source of `problem_set`; `setting` is its key in the study file, for messages."""
    if problem_set.reasoning_gym is not None:
        tries = problem_set.size * TRIES_PER_PROBLEM
        return _generated(problem_set.reasoning_gym, tries, f"{setting}.reasoning_gym")
    return (_read(row, problem_set.columns, f"{setting}.columns") for row in source_rows(problem_set, setting))


def _without_excluded(problems: Iterator[_Problem], excluded: Set[str], unique: bool) -> Iterator[_Problem]:
    """The `problems` whose text is not in `excluded` and, with `unique`, not that of a problem before."""
    left_out = set(excluded)
    for problem in problems:
        if problem.problem not in left_out:
            if unique:
                left_out.add(problem.problem)
            yield problem


def _read(row: Row, columns: Columns, setting: str) -> _Problem:
    problem_id = None
    if columns.problem_id is not None:
        problem_id = text(row, columns.problem_id, "problem_id", f"{setting}.problem_id; null numbers the rows")
    return _Problem(
        where=row.where,
        problem_id=problem_id,
        problem=text(row, columns.problem, "problem", f"{setting}.problem"),
        answer=text(row, columns.answer, "answer", f"{setting}.answer"),
        metadata={
            key: value
            for key, value in row.fields.items()
            if key not in (columns.problem_id, columns.problem, columns.answer)
        },
    )


def _generated(source: ReasoningGym, tries: int, setting: str) -> Iterator[_Problem]:
    """The problems among the first `tries` items of a reasoning-gym data set whose metadata matches `source.where`."""
    items = _generator(source, tries, setting)
    patterns = {field: _compiled(pattern, f"{setting}.where.{field}") for field, pattern in source.where.items()}
    for number in range(tries):
        item = items[number]
        row = Row(f"{source.task}, item {number}", item["metadata"] | {"question": item["question"]})
        answer = text(Row(row.where, item), "answer", "answer", f"{setting}.task")
        problem = text(row, source.problem_from or "question", "problem", f"{setting}.problem_from")
        if all(pattern.fullmatch(text(row, field, "field", f"{setting}.where")) for field, pattern in patterns.items()):
            yield _Problem(row.where, None, problem, answer, item["metadata"])


def _generator(source: ReasoningGym, size: int, setting: str) -> Any:
    """The reasoning-gym data set of `source`, with `size` items."""
    from reasoning_gym.factory import DATASETS, create_dataset

    task = source.task
    if task not in DATASETS:
        raise StudyError(f"{setting}.task: reasoning-gym has no '{task}'{nearest(task, sorted(DATASETS))}")
    known = {field.name for field in dataclasses.fields(DATASETS[task][1])} - {"seed", "size"}
    for parameter in source.parameters:
        if parameter not in known:
            raise StudyError(f"{setting}.parameters: {task} has no '{parameter}'{nearest(parameter, sorted(known))}")
    try:
        return create_dataset(task, **source.parameters, seed=source.seed, size=size)
    except (AssertionError, TypeError, ValueError) as error:
        raise StudyError(f"{setting}.parameters: {task} refuses them: {error or source.parameters}") from None


def _compiled(pattern: str, setting: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise StudyError(f"{setting}: '{pattern}' is no regular expression: {error}") from None


def _check_size(problems: list[_Problem], problem_set: ProblemSet, excluding: bool, setting: str) -> None:
    size = problem_set.size
    if problem_set.reasoning_gym is not None and len(problems) < size:
        raise StudyError(
            f"{setting}: found {len(problems)} of {size} problems in {size * TRIES_PER_PROBLEM} tries; "
            f"make size smaller, or reasoning_gym.where or parameters wider"
        )
    if not problems and excluding:
        raise StudyError(f"{setting}: no problem is left; `exclude` holds them all, or the source is empty")
    if not problems:
        raise StudyError(f"{setting}: the source holds no problems")


def _check_unique_ids(problems: list[_Problem]) -> None:
    first: dict[str, str] = {}
    for problem in problems:
        if problem.problem_id is not None:
            if problem.problem_id in first:
                raise StudyError(
                    f"{problem.where}: problem_id '{problem.problem_id}' is that of {first[problem.problem_id]} too; "
                    f"mend the data, or drop repeated problems with `deduplicate: true`"
                )
            first[problem.problem_id] = problem.where


def _check_answers(problems: list[_Problem], grader: Grader) -> None:
    unparsable = grader.unparsable([problem.answer for problem in problems])
    if unparsable:
        first = problems[unparsable[0]]
        others = f", and {len(unparsable) - 1} more" if len(unparsable) > 1 else ""
        raise StudyError(f"{first.where}: math-verify cannot read the answer '{first.answer[:80]}'{others}")
