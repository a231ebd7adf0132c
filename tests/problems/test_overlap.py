"""Problems that stand in several sets, and what a set holds."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.errors import StudyError
from tokenshift.problems.grading import Grader
from tokenshift.problems.inspection import inspected
from tokenshift.problems.overlap import NGRAM, normalised, refuse_overlap, shared, sharing_ngrams
from tokenshift.problems.sets import Problem


def frame(**problems: str) -> pl.DataFrame:
    return pl.DataFrame({"problem_id": list(problems), "problem": list(problems.values())})


def test_two_settings_of_one_problem_are_one():
    same = [r"What is $1 + 2$?", "what is 1+2", r"What  is \left 1\,+ 2", "What is １+2？".replace("？", "?")]
    assert len({normalised(problem) for problem in same}) == 1
    assert len({normalised(problem) for problem in ("1 + 2", "1 - 2", "12", "-1 + 2")}) == 4


@given(st.text(max_size=30))
def test_normalisation_is_done_once(problem):
    assert normalised(normalised(problem)) == normalised(problem)


def test_a_problem_both_trained_and_evaluated_on_is_refused():
    trained = {"problems/train": frame(a="1 + 1", b="What is 2 + 2?"), "corpora/mixture": frame(c="3 + 3")}
    evaluated = {"problems/heldout": frame(x="what is  2 + 2", y="5 + 5")}
    (only,) = shared(trained, evaluated)
    assert (only.first_id, only.second_id) == ("b", "x")
    with pytest.raises(
        StudyError, match=r"^1 problems .* b of problems/train is x of problems/heldout .*allow_overlap"
    ):
        refuse_overlap(trained, evaluated)
    refuse_overlap({"corpora/mixture": trained["corpora/mixture"]}, evaluated)


def test_a_set_that_is_trained_and_evaluated_on_is_refused_too():
    same = frame(a="1 + 1")
    with pytest.raises(StudyError, match="1 problems are both trained and evaluated on"):
        refuse_overlap({"problems/heldout": same}, {"problems/heldout": same})


def test_long_runs_of_words_tell_another_wording():
    words = [f"word{number}" for number in range(NGRAM)]
    assert sharing_ngrams([" ".join(["So,", *words, "?"])], [" ".join(words)]) == 1
    assert sharing_ngrams([" ".join(words[:-1])], [" ".join(words)]) == 0


def test_what_a_set_holds():
    def problem(number: int, text: str, answer: str, refusal: str | None = None) -> Problem:
        return Problem(f"row {number}", None, text, answer, "math", {}, refusal)

    sets = {
        "given": [
            *(problem(0, "1 + 1", "2"), problem(1, "1+1", "3"), problem(2, "Half?", r"\frac{1}{2}")),
            *(problem(3, "Why?", "because", "is prose"), problem(4, "Read?", r"\frac{")),
        ],
        "other": [problem(0, "half", "0.5")],
    }
    with Grader() as grader:
        said = "\n".join(inspected("given", sets, grader))
    for line in (
        "given: 5 problems",
        "answers: 2 whole numbers, 2 unusable, 1 others",
        "answers that are none of their kind: 2",
        "problems with several answers: 1",
        "row 0 ('2'); row 1 ('3')",
        "problems that are in other too: 1",
        f"problems that share {NGRAM} words in a row with one of other: 0",
    ):
        assert line in said
