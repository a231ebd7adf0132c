"""Verdicts on pairs of answers: those of docs/grading.md, and many more, in both directions."""

import re
from pathlib import Path

import pytest
from math_verify import parse, verify

from problems.answer_pairs import PAIRS
from tokenshift.problems.grading import Grader
from tokenshift.problems.kinds import choice, integer, words

GRADING = Path(__file__).parents[2] / "docs/grading.md"
ROW = re.compile(r"^\| `` ?(.+?) ?`` \| `` ?(.+?) ?`` \| (math|choice|text|integer) \| (right|wrong) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def grader():
    with Grader(workers=2) as grader:
        yield grader


def boxed(answer: str) -> str:
    return rf"So the answer is $\boxed{{{answer}}}$."


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_in_both_directions(grader, kind):
    both = [pair for gold, answer, *_ in PAIRS[kind] for pair in ((gold, answer), (answer, gold))]
    grades = grader.grade(["math"] * len(both), [gold for gold, _ in both], [boxed(answer) for _, answer in both])
    right = [right for _, _, right, _ in PAIRS[kind] for _ in range(2)]
    assert [pair for pair, grade, is_right in zip(both, grades, right, strict=True) if grade.correct != is_right] == []


def test_what_math_verify_alone_says_is_as_noted():
    assert sum(map(len, PAIRS.values())) >= 150
    noted = [(gold, answer, alone) for pairs in PAIRS.values() for gold, answer, _, alone in pairs]
    for gold, answer, alone in noted:
        read = (parse(boxed(text), parsing_timeout=None) for text in (gold, answer))
        assert verify(*read, timeout_seconds=None) == alone, (gold, answer)
    assert sum(right != alone for pairs in PAIRS.values() for _, _, right, alone in pairs) > 30


def test_every_row_of_the_documentation(grader):
    rows = ROW.findall(GRADING.read_text())
    assert len(rows) == len(re.findall(r"^\| ``", GRADING.read_text(), re.MULTILINE)) > 40
    golds, answers, kinds, _ = zip(*rows, strict=True)
    grades = grader.grade(kinds, golds, [boxed(answer) for answer in answers])
    differing = [row for row, grade in zip(rows, grades, strict=True) if grade.correct != (row[3] == "right")]
    assert differing == []


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A", "A"), ("(A)", "A"), ("a", "A"), ("A.", "A"), ("A)", "A"), (r"\text{A}", "A"), (r"\textbf{(A)}", "A"),
        ("A) 12", "A"), ("(A) 12", "A"), ("A: 12", "A"), ("$A$", "A"), (r"\mathrm{(B)}\ 3", "B"),
        ("A and B", None), ("AB", None), ("12", None), ("", None),
    ],
)  # fmt: skip
def test_the_letter_that_is_chosen(answer, letter):
    assert choice(answer) == letter


@pytest.mark.parametrize(
    ("answer", "number"), [("033", 33), ("33", 33), ("+7", 7), ("1,000", 1000), (r"\text{12}", 12), ("3.0", None)]
)
def test_the_whole_number_that_is_written(answer, number):
    assert integer(answer) == number


def test_words_are_the_same_however_they_are_set():
    assert words(r"\text{The  y-axis}.") == words("the y-axis") == "the y-axis"
    assert words("ﬁne") == words("fine")
