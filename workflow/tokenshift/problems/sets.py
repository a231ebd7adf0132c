"""Problem sets: generated or read, checked, and numbered."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Set
from itertools import islice
from typing import Any

import pyarrow as pa

from tokenshift.config.problems import Answers, ProblemSet, ReasoningGym
from tokenshift.errors import StudyError, nearest
from tokenshift.problems.answers import last_boxed
from tokenshift.problems.grading import Grader
from tokenshift.problems.kinds import refusal
from tokenshift.problems.sources import Row, source_rows, text
from tokenshift.schemas import PROBLEMS

_NOT_FOUND = "does not hold {}, where the answer should stand"
JUDGED_TOGETHER = 256  # problems of which unusable ones are dropped before more are read
# A generator of which fewer than one item in so many is a usable problem has run dry.
TRIES_PER_PROBLEM = 1000


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of a source, before its set is checked."""

    where: str  # the words in which messages say where it stands in the source
    problem_id: str | None
    problem: str
    answer: str
    answer_kind: str
    metadata: dict[str, Any]
    refusal: str | None = None  # why the answer is none of its kind


def build_problems(name: str, problem_set: ProblemSet, excluded: Set[str], grader: Grader) -> pa.Table:
    """Table (schemas.PROBLEMS) of the problem set `name`, in the order of its source.

    Problems whose text is in `excluded` are left out. So are repeated texts where problems are generated, or where the
    set is to be deduplicated. Raises StudyError at the first row that cannot be used, when no row is left, and, unless
    answers.unusable says otherwise, when an answer is none of its kind. What is left out for its answer is reported on
    stderr.
    """
    setting = f"problems.{name}"
    problems = kept_problems(problem_set, setting, excluded)
    if problem_set.answers.unusable == "drop":
        problems = _with_usable_answers(problems, grader, setting)
    problems = list(islice(problems, problem_set.size))
    _check_size(problems, problem_set, bool(excluded), setting)
    _check_unique_ids(problems)
    if problem_set.answers.unusable != "drop":
        problems = judged(problems, grader)
        refused = [problem for problem in problems if problem.refusal]
        if refused and problem_set.answers.unusable == "refuse":
            others = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
            raise StudyError(
                f"{refused[0].where}: {_refused(refused[0])}{others} (or leave such problems out: "
                f"{setting}.answers.unusable: drop)"
            )
        problems = [
            dataclasses.replace(problem, answer_kind="text") if problem.refusal else problem for problem in problems
        ]
    rows = [
        {
            "problem_id": problem.problem_id or f"{name}-{number:05d}",
            "problem": problem.problem,
            "answer": problem.answer,
            "answer_kind": problem.answer_kind,
            "metadata": json.dumps(problem.metadata, sort_keys=True, default=str),
        }
        for number, problem in enumerate(problems)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEMS)


def kept_problems(problem_set: ProblemSet, setting: str, excluded: Set[str]) -> Iterator[Problem]:
    """The problems of the source but those whose text is in `excluded`, and repeated ones where the set drops them."""
    unique = problem_set.deduplicate or problem_set.reasoning_gym is not None
    left_out = set(excluded)
    for problem in _source_problems(problem_set, setting):
        if problem.problem not in left_out:
            if unique:
                left_out.add(problem.problem)
            yield problem


def _source_problems(problem_set: ProblemSet, setting: str) -> Iterator[Problem]:
    """All problems of the source of `problem_set`; `setting` is its key in the study file, for messages."""
    if problem_set.reasoning_gym is not None:
        tries = problem_set.size * TRIES_PER_PROBLEM
        return _generated(problem_set.reasoning_gym, tries, f"{setting}.reasoning_gym")
    return (_read(row, problem_set, setting) for row in source_rows(problem_set, setting))


def _read(row: Row, problem_set: ProblemSet, setting: str) -> Problem:
    columns, answers, keys = problem_set.columns, problem_set.answers, f"{setting}.columns"
    problem_id = None
    if columns.problem_id is not None:
        problem_id = text(row, columns.problem_id, "problem_id", f"{keys}.problem_id; null numbers the rows")
    given = text(row, columns.answer, "answer", f"{keys}.answer")
    answer = _answer_in(given, answers)
    return Problem(
        where=row.where,
        problem_id=problem_id,
        problem=text(row, columns.problem, "problem", f"{keys}.problem"),
        answer=given if answer is None else answer,
        answer_kind=answers.kind,
        metadata={
            key: value
            for key, value in row.fields.items()
            if key not in (columns.problem_id, columns.problem, columns.answer)
        },
        refusal=_NOT_FOUND.format(_place(answers)) if answer is None else refusal(answers.kind, answer),
    )


def _answer_in(given: str, answers: Answers) -> str | None:
    """The reference answer within the text of its column; None where it is not where `answers` says."""
    if answers.after is not None:
        _, found, answer = given.rpartition(answers.after)
        answer = answer.strip() if found else None
    elif answers.boxed:
        answer = last_boxed(given)
    elif answers.pattern is not None:
        match = re.search(answers.pattern, given)
        answer = match[1].strip() if match and match[1] else None
    else:
        answer = given
    return answer or None


def _place(answers: Answers) -> str:
    """Where `answers` says that the answer stands, in words."""
    if answers.boxed:
        return r"a closed \boxed{...}"
    return f"'{answers.after}'" if answers.after is not None else f"a match of {answers.pattern}"


def _generated(source: ReasoningGym, tries: int, setting: str) -> Iterator[Problem]:
    """The problems among the first `tries` items of a reasoning-gym data set whose metadata matches `source.where`."""
    items = _generator(source, tries, setting)
    patterns = {field: _compiled(pattern, f"{setting}.where.{field}") for field, pattern in source.where.items()}
    for number in range(tries):
        item = items[number]
        row = Row(f"{source.task}, item {number}", item["metadata"] | {"question": item["question"]})
        answer = text(Row(row.where, item), "answer", "answer", f"{setting}.task")
        problem = text(row, source.problem_from or "question", "problem", f"{setting}.problem_from")
        if all(pattern.fullmatch(text(row, field, "field", f"{setting}.where")) for field, pattern in patterns.items()):
            yield Problem(row.where, None, problem, answer, "math", item["metadata"])


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


def _check_size(problems: list[Problem], problem_set: ProblemSet, excluding: bool, setting: str) -> None:
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


def _check_unique_ids(problems: list[Problem]) -> None:
    first: dict[str, str] = {}
    for problem in problems:
        if problem.problem_id is not None:
            if problem.problem_id in first:
                raise StudyError(
                    f"{problem.where}: problem_id '{problem.problem_id}' is that of {first[problem.problem_id]} too; "
                    f"mend the data, or drop repeated problems with `deduplicate: true`"
                )
            first[problem.problem_id] = problem.where


def judged(problems: list[Problem], grader: Grader) -> list[Problem]:
    """The `problems`, with a refusal where math-verify cannot read the answer."""
    asked = [problem for problem in problems if problem.answer_kind == "math" and problem.refusal is None]
    unparsable = {id(asked[place]) for place in grader.unparsable([problem.answer for problem in asked])}
    why = "cannot be read by math-verify"
    return [dataclasses.replace(problem, refusal=why) if id(problem) in unparsable else problem for problem in problems]


def _with_usable_answers(problems: Iterator[Problem], grader: Grader, setting: str) -> Iterator[Problem]:
    """The `problems` whose answers are of their kind; the others are listed on stderr."""
    dropped = 0
    while together := list(islice(problems, JUDGED_TOGETHER)):
        for problem in judged(together, grader):
            if problem.refusal is None:
                yield problem
            else:
                dropped += 1
                print(f"{setting}: left out: {problem.where}: {_refused(problem)}", file=sys.stderr)
    if dropped:
        print(f"{setting}: {dropped} problems were left out for their answers", file=sys.stderr)


def _refused(problem: Problem) -> str:
    return f"the answer '{problem.answer[:80]}' {problem.refusal}"
