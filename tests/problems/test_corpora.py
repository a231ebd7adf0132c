import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tokenshift.artifacts import write_parquet
from tokenshift.config.problems import Corpus, WorkedSolutions
from tokenshift.config.specs import CorpusSpec
from tokenshift.errors import StudyError
from tokenshift.problems.corpora import worked_solutions, written_solutions
from tokenshift.schemas import CORPUS, PROBLEMS

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"(-?\d+)([+-])(-?\d+)([=:])(-?\d+)")
SETTINGS = WorkedSolutions(solutions_per_problem=40)


def problems(*texts: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "problem_id": [f"p{number}" for number in range(len(texts))],
            "problem": texts,
            "answer": [str(eval(text)) for text in texts],
            "answer_kind": "math",
            "metadata": "{}",
        }
    )


SUMS = problems("3 + 4 - 1", "1 - 5 + 2 - 3", "5 + 5 + 5 + 5 + 5", "-2 + 3", *(f"{n} + 2 - 1" for n in range(60)))


@pytest.fixture(scope="module")
def corpus() -> pl.DataFrame:
    return pl.from_arrow(worked_solutions(SUMS, SETTINGS, seed=1))


def test_every_problem_in_turn_with_all_its_solutions(corpus):
    assert corpus.columns == CORPUS.names
    assert corpus["problem_id"].to_list() == [name for name in SUMS["problem_id"] for _ in range(40)]


def test_steps_follow_the_problem_and_go_on_from_what_is_written(corpus):
    for problem, solution in corpus.filter(manner="steps").select("problem", "solution").iter_rows():
        *steps, last = solution.split(" ")
        first, *rest = problem.split(" ")
        written = int(first)
        for step, sign, term in zip(steps, rest[::2], rest[1::2], strict=True):
            left, operator, right, mark, result = STEP.fullmatch(step).groups()
            assert (int(left), operator, right) == (written, sign, term)
            error = int(result) - eval(f"{left}{operator}{right}")
            assert error in ((0,) if mark == "=" else (-2, -1, 0, 1, 2))
            written = int(result)
        assert last == rf"\boxed{{{written}}}"


def test_guesses_are_a_box_and_off_by_a_little(corpus):
    guesses = corpus.filter(manner="guess").join(SUMS.select("problem_id", "answer"), on="problem_id")
    errors = [
        int(re.fullmatch(r"\\boxed\{(-?\d+)\}", solution)[1]) - int(answer)
        for solution, answer in guesses.select("solution", "answer").iter_rows()
    ]
    assert set(errors) == {-3, -2, -1, 0, 1, 2, 3}


def near(probability: float, trials: int) -> object:
    """Equal to `probability` to within four standard deviations of a share of `trials`."""
    return pytest.approx(probability, abs=4 * (0.25 / trials) ** 0.5)


def test_the_mixture_has_the_given_shares(corpus):
    marks = [
        (mark, int(result) == eval(f"{left}{sign}{right}"))
        for solution in corpus.filter(manner="steps")["solution"]
        for left, sign, right, mark, result in STEP.findall(solution)
    ]
    sloppy = [right for mark, right in marks if mark == ":"]
    guesses = corpus.filter(manner="guess").join(SUMS.select("problem_id", "answer"), on="problem_id")
    right = (guesses["solution"] == "\\boxed{" + guesses["answer"] + "}").to_list()
    assert len(guesses) / len(corpus) == near(SETTINGS.guess, len(corpus))
    assert sum(right) / len(right) == near(SETTINGS.guess_right, len(right))
    assert 1 - len(sloppy) / len(marks) == near(SETTINGS.careful, len(marks))
    assert 1 - sum(sloppy) / len(sloppy) == near(SETTINGS.slip, len(sloppy))


@pytest.mark.parametrize(
    ("settings", "solution"),
    [
        ({"guess": 0, "careful": 1}, r"1-5=-4 -4+2=-2 -2-3=-5 \boxed{-5}"),
        ({"guess": 0, "careful": 0, "slip": 0}, r"1-5:-4 -4+2:-2 -2-3:-5 \boxed{-5}"),
        ({"guess": 1, "guess_right": 1}, r"\boxed{-5}"),
        (
            {"guess": 0, "careful": 1, "wording": "words"},
            " 1 minus 5 is -4, and -4 plus 2 is -2, and -2 minus 3 is -5, so \\boxed{-5}.\n",
        ),
        (
            {"guess": 0, "careful": 0, "slip": 0, "wording": "words"},
            " 1 minus 5 makes -4, and -4 plus 2 makes -2, and -2 minus 3 makes -5, so \\boxed{-5}.\n",
        ),
        ({"guess": 1, "guess_right": 1, "wording": "words"}, " \\boxed{-5}.\n"),
    ],
)
def test_the_extremes_leave_nothing_to_chance(settings, solution):
    table = worked_solutions(SUMS[1:2], SETTINGS.model_copy(update=settings), 3)
    assert table["solution"].unique().to_pylist() == [solution]


def test_a_solution_depends_on_seed_problem_and_number_alone(corpus):
    fewer = SETTINGS.model_copy(update={"solutions_per_problem": 3})
    some = pl.from_arrow(worked_solutions(SUMS[10:20].reverse(), fewer, seed=1))
    for (problem_id,), solutions in some.group_by("problem_id"):
        assert solutions["solution"].to_list() == corpus.filter(problem_id=problem_id)["solution"][:3].to_list()
    assert worked_solutions(SUMS, SETTINGS, seed=2)["solution"].to_pylist() != corpus["solution"].to_list()


@pytest.mark.parametrize("text", ["3 * 4", "7", "3+4", "3 + x", "3 + 4 -", "3 + 4\n"])
def test_what_is_no_sum_is_refused(text):
    table = problems("1 + 1", "1 + 2").with_columns(problem=pl.Series(["1 + 1", text]))
    with pytest.raises(StudyError, match=r"problem p1: .* is no sum of integers"):
        worked_solutions(table, SETTINGS, 0)


def written(path: Path, **entry: str) -> Corpus:
    return Corpus.model_validate({"jsonl": {"path": str(path)}, **entry})


def test_written_solutions_are_read(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"problem": "1 + 1", "text": "two"}\n{"problem": "1 + 2", "text": "three"}\n')
    assert written_solutions("given", written(path, solution_column="text")).to_pylist() == [
        {"problem_id": "given-00000", "problem": "1 + 1", "solution": "two", "manner": "written"},
        {"problem_id": "given-00001", "problem": "1 + 2", "solution": "three", "manner": "written"},
    ]
    with pytest.raises(StudyError, match=r"line 1: no column 'solution'.*set corpora\.given\.solution_column"):
        written_solutions("given", written(path))
    path.write_text("")
    with pytest.raises(StudyError, match=r"corpora\.given: the source holds no solutions"):
        written_solutions("given", written(path))


def test_the_script_writes_the_same_bytes_again(tmp_path):
    write_parquet(tmp_path / "problems.parquet", SUMS.to_arrow(), PROBLEMS, {}, ())
    corpus = Corpus.model_validate({"problems": "sums", "worked_solutions": {}})
    spec = CorpusSpec(code="", environment="", name="mixture", corpus=corpus, source=None)
    written_bytes = []
    for name in ("first", "second"):
        output = tmp_path / f"{name}.parquet"
        command = ["--spec", json.dumps(spec.plain()), "--output", output]
        script = [sys.executable, ROOT / "workflow/scripts/corpus.py"]
        subprocess.run([*script, *command, "--problems", tmp_path / "problems.parquet"], check=True)
        written_bytes.append(output.read_bytes())
    assert written_bytes[0] == written_bytes[1]
