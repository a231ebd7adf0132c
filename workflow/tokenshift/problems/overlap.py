"""Problems that stand in several sets: those that a model is both trained and evaluated on measure its memory."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from tokenshift.errors import StudyError

NGRAM = 13  # words; problems that share so many in a row are one problem in two wordings (arXiv 2005.14165, appendix C)

_SETTING = re.compile(r"\\(?:left|right|displaystyle|,|;|!|:)|[$\s]")


class Shared(NamedTuple):
    """A problem of one set that is in another too: the sets, its ids there, and its text."""

    first_set: str
    first_id: str
    second_set: str
    second_id: str
    problem: str


def normalised(problem: str) -> str:
    """The text of a problem without case, spaces, and what only sets it: the same for two copies of one problem."""
    plain = unicodedata.normalize("NFKC", _SETTING.sub("", problem)).casefold().rstrip(".?!")
    return plain if plain == problem else normalised(plain)


def shared(sets: Mapping[str, pl.DataFrame], others: Mapping[str, pl.DataFrame]) -> Iterator[Shared]:
    """Each problem of `sets` whose normalised text is in one of `others` too, with the first place where it is there.

    The frames have columns problem_id and problem.
    """
    place: dict[str, tuple[str, str]] = {}
    for name, frame in others.items():
        for problem_id, problem in frame.select("problem_id", "problem").iter_rows():
            place.setdefault(normalised(problem), (name, problem_id))
    for name, frame in sets.items():
        for problem_id, problem in frame.select("problem_id", "problem").iter_rows():
            if (there := place.get(normalised(problem))) is not None:
                yield Shared(name, problem_id, *there, problem)


def ngrams(problem: str) -> set[tuple[str, ...]]:
    """All runs of NGRAM words of a problem; one of fewer words has none."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", problem).casefold())
    return {tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)}


def sharing_ngrams(problems: Iterable[str], others: Iterable[str]) -> int:
    """How many of `problems` share a run of NGRAM words with one of `others`."""
    there = set().union(*map(ngrams, others))
    return sum(not ngrams(problem).isdisjoint(there) for problem in problems)


def refuse_overlap(trained: Mapping[str, pl.DataFrame], evaluated: Mapping[str, pl.DataFrame]) -> None:
    """Raise StudyError, with how many they are and the first, when problems are both trained and evaluated on."""
    overlap = list(shared(trained, evaluated))
    if overlap:
        first = overlap[0]
        raise StudyError(
            f"{len(overlap)} problems are both trained and evaluated on, the first: {first.first_id} of "
            f"{first.first_set} is {first.second_id} of {first.second_set} ({first.problem[:80]!r}); leave them out "
            f"(problems.NAME.exclude), or say `allow_overlap: true`, which every table then repeats"
        )
