"""Problem sets: generated or read, checked, and numbered."""

import dataclasses
import json
import re
from collections.abc import Iterator, Set
from itertools import islice
from typing import Any

import pyarrow as pa

from tokenshift.errors import StudyError, nearest
from tokenshift.problems.grading import Grader
from tokenshift.problems.sources import Row, source_rows, text
from tokenshift.schemas import PROBLEMS

# A generator that gives fewer usable problems than one in so many tries has run dry.
TRIES_PER_PROBLEM = 1000


@dataclasses.dataclass(frozen=True)
class _Problem:
    row: str  # where it stands in the source
    problem_id: str | None
    problem: str
    answer: str
    metadata: dict[str, Any]


def build_problems(name: str, entry: dict[str, Any], excluded: Set[str], grader: Grader) -> pa.Table:
    """Table (schemas.PROBLEMS) of the set `name`, as `entry` (config.problems.ProblemSet, resolved) describes it.

    Problems whose text is in `excluded` are left out; repeated texts too, where they are generated or where `entry`
    asks for it. Rows keep the source's order. Raises StudyError at the first row that cannot be used, when no row is
    left, and when an answer is one that math-verify cannot read.
    """
    where = f"problems.{name}"
    unique = entry["deduplicate"] or entry["reasoning_gym"] is not None
    problems = list(islice(_kept(_problems(entry, where), excluded, unique), entry["size"]))
    _check_size(problems, entry, bool(excluded), where)
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


def _problems(entry: dict[str, Any], where: str) -> Iterator[_Problem]:
    if entry["reasoning_gym"] is not None:
        return _generated(entry["reasoning_gym"], entry["size"] * TRIES_PER_PROBLEM, f"{where}.reasoning_gym")
    return (_read(row, entry["columns"], f"{where}.columns") for row in source_rows(entry, where))


def _kept(problems: Iterator[_Problem], excluded: Set[str], unique: bool) -> Iterator[_Problem]:
    left_out = set(excluded)
    for problem in problems:
        if problem.problem not in left_out:
            if unique:
                left_out.add(problem.problem)
            yield problem


def _read(row: Row, columns: dict[str, str | None], setting: str) -> _Problem:
    problem_id = None
    if columns["problem_id"] is not None:
        problem_id = text(row, columns["problem_id"], "problem_id", f"{setting}.problem_id; null numbers the rows")
    return _Problem(
        row.where,
        problem_id,
        text(row, columns["problem"], "problem", f"{setting}.problem"),
        text(row, columns["answer"], "answer", f"{setting}.answer"),
        {key: value for key, value in row.fields.items() if key not in columns.values()},
    )


def _generated(source: dict[str, Any], tries: int, setting: str) -> Iterator[_Problem]:
    """Problems of a reasoning-gym data set whose metadata matches `source["where"]`, of its first `tries` items."""
    items = _generator(source["task"], source["parameters"], source["seed"], tries, setting)
    patterns = {field: _compiled(pattern, f"{setting}.where.{field}") for field, pattern in source["where"].items()}
    for number in range(tries):
        item = items[number]
        row = Row(f"{source['task']}, item {number}", item["metadata"] | {"question": item["question"]})
        answer = text(Row(row.where, item), "answer", "answer", f"{setting}.task")
        problem = text(row, source["problem_from"] or "question", "problem", f"{setting}.problem_from")
        if all(pattern.fullmatch(text(row, field, "field", f"{setting}.where")) for field, pattern in patterns.items()):
            yield _Problem(row.where, None, problem, answer, item["metadata"])


def _generator(task: str, parameters: dict[str, Any], seed: int, size: int, setting: str) -> Any:
    """The reasoning-gym data set `task` with these parameters."""
    from reasoning_gym.factory import DATASETS, create_dataset

    if task not in DATASETS:
        raise StudyError(f"{setting}.task: reasoning-gym has no '{task}'{nearest(task, sorted(DATASETS))}")
    known = {field.name for field in dataclasses.fields(DATASETS[task][1])} - {"seed", "size"}
    for parameter in parameters:
        if parameter not in known:
            raise StudyError(f"{setting}.parameters: {task} has no '{parameter}'{nearest(parameter, sorted(known))}")
    try:
        return create_dataset(task, **parameters, seed=seed, size=size)
    except (AssertionError, TypeError, ValueError) as error:
        raise StudyError(f"{setting}.parameters: {task} refuses them: {error or parameters}") from None


def _compiled(pattern: str, setting: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise StudyError(f"{setting}: '{pattern}' is no regular expression: {error}") from None


def _check_size(problems: list[_Problem], entry: dict[str, Any], excluding: bool, where: str) -> None:
    if entry["reasoning_gym"] is not None and len(problems) < entry["size"]:
        raise StudyError(
            f"{where}: found {len(problems)} of {entry['size']} problems in {entry['size'] * TRIES_PER_PROBLEM} tries; "
            f"make size smaller, or reasoning_gym.where or parameters wider"
        )
    if not problems and excluding:
        raise StudyError(f"{where}: no problem is left; `exclude` holds them all, or the source is empty")
    if not problems:
        raise StudyError(f"{where}: the source holds no problems")


def _check_unique_ids(problems: list[_Problem]) -> None:
    first: dict[str, str] = {}
    for problem in problems:
        if problem.problem_id is not None:
            if problem.problem_id in first:
                raise StudyError(
                    f"{problem.row}: problem_id '{problem.problem_id}' is that of {first[problem.problem_id]} too; "
                    f"mend the data, or drop repeated problems with `deduplicate: true`"
                )
            first[problem.problem_id] = problem.row


def _check_answers(problems: list[_Problem], grader: Grader) -> None:
    unparsable = grader.unparsable([problem.answer for problem in problems])
    if unparsable:
        first = problems[unparsable[0]]
        others = f", and {len(unparsable) - 1} more" if len(unparsable) > 1 else ""
        raise StudyError(f"{first.row}: math-verify cannot read the answer '{first.answer[:80]}'{others}")
