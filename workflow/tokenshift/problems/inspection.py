"""What a problem set holds, before any of it is refused: kinds of answers, unusable ones, repetitions, overlaps."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tokenshift.problems.grading import Grader
from tokenshift.problems.kinds import choice, integer
from tokenshift.problems.overlap import NGRAM, normalised, sharing_ngrams
from tokenshift.problems.sets import Problem, judged

SHOWN = 3  # examples of each finding


def kind_of(problem: Problem) -> str:
    """What the reference answer looks like, in a word or two."""
    if problem.refusal:
        return "unusable"
    if integer(problem.answer) is not None:
        return "whole numbers"
    return "letters" if choice(problem.answer) else "others"


def inspected(name: str, sets: Mapping[str, Sequence[Problem]], grader: Grader) -> Iterator[str]:
    """Lines that describe the set called `name`, one of `sets`, beside the others."""
    problems = judged(list(sets[name]), grader)
    yield f"{name}: {len(problems)} problems"
    if not problems:
        return
    lengths = [len(problem.problem) for problem in problems]
    yield f"  characters of a problem: {min(lengths)} to {max(lengths)}, median {statistics.median(lengths):g}"
    kinds = Counter(map(kind_of, problems))
    yield f"  answers: {', '.join(f'{number} {kind}' for kind, number in kinds.most_common())}"
    unusable = [
        f"{problem.where}: '{problem.answer[:60]}' {problem.refusal}" for problem in problems if problem.refusal
    ]
    yield from _finding("answers that are none of their kind", unusable)
    by_text: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_text[normalised(problem.problem)].append(problem)
    repeated = [same for same in by_text.values() if len(same) > 1]
    yield from _finding("problems that stand there more than once", [_places(same) for same in repeated])
    conflicting = [same for same in repeated if len({problem.answer for problem in same}) > 1]
    yield from _finding("problems with several answers", [_places(same) for same in conflicting])
    for other in sets:
        if other != name:
            texts = {normalised(problem.problem) for problem in sets[other]}
            both = [problem.where for problem in problems if normalised(problem.problem) in texts]
            yield from _finding(f"problems that are in {other} too", both)
            near = sharing_ngrams(*([problem.problem for problem in one] for one in (problems, sets[other])))
            yield f"  problems that share {NGRAM} words in a row with one of {other}: {near}"


def _finding(what: str, found: Sequence[str]) -> Iterator[str]:
    yield f"  {what}: {len(found)}"
    yield from (f"    {example}" for example in found[:SHOWN])
    if len(found) > SHOWN:
        yield f"    and {len(found) - SHOWN} more"


def _places(same: Sequence[Problem]) -> str:
    return "; ".join(f"{problem.where} ('{problem.answer[:40]}')" for problem in same)
