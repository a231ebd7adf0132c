import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from hostile_answers import responses, unboxed
from tokenshift.problems.grading import LONGEST_ANSWER, Grade, Grader

ENDLESS = "9^{9^{9^{9}}}"
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


def grade(grader: Grader, golds: list[str], responses: list[str], kind: str = "math") -> list[Grade]:
    return grader.grade([kind] * len(golds), golds, responses)


def boxed(answer: str) -> str:
    return rf"So the answer is $\boxed{{{answer}}}$."


def test_equal_answers_in_other_words_are_correct(grader):
    golds = [r"\frac{1}{2}", "10,000", "x^2+2x+1", r"\left( 3, \frac{\pi}{2} \right)", "42"]
    answers = ["0.5", "10000", "(x+1)^2", r"(3, \pi/2)", "42"]
    assert grade(grader, golds, [boxed(answer) for answer in answers]) == [Grade(answer, True) for answer in answers]
    assert not any(grade.correct for grade in grade(grader, golds, [boxed("7")] * len(golds)))


def test_without_a_box_there_is_no_answer(grader):
    assert grade(grader, ["42", "42"], ["the answer is 42", r"\boxed{42"]) == [Grade(None, False)] * 2


def test_an_answer_equal_to_the_letter_is_correct(grader):
    assert grade(grader, [" {broken "], [boxed("1")]) == [Grade("1", False)]
    assert grade(grader, [r"\notalatexcommand "], [boxed(r"\notalatexcommand")])[0].correct


def test_an_overlong_answer_is_wrong_unread(grader):
    start = time.perf_counter()
    assert not grade(grader, ["1/2"], [boxed("(" * LONGEST_ANSWER + "1/2" + ")" * LONGEST_ANSWER)])[0].correct
    assert time.perf_counter() - start < 0.5


digits = st.from_regex(r"-?[0-9]{1,4}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(digits, digits)
def test_integers_are_compared_as_math_verify_does(gold, answer):
    others = multiprocessing.active_children()
    with Grader() as grader:
        verdict = verify(parse(boxed(gold)), parse(boxed(answer)))
        assert grade(grader, [gold], [boxed(answer)])[0].correct == verdict
        assert multiprocessing.active_children() == others


def test_verdicts_do_not_depend_on_workers():
    golds = ["1/2", "2/3", "x+1", r"\sqrt{8}"] * 6
    answers = [boxed(answer) for answer in ("0.5", "0.6", "1+x", r"2\sqrt{2}", "2/4", "4/6") for _ in range(4)]
    hostile = [boxed(ENDLESS), *responses(quick=3, endless=0, seed=1)]
    grades = []
    for workers in (1, 2):
        with Grader(workers=workers, cpu_s=1.0) as grader:
            grades.append(grade(grader, golds + ["1/2"] * len(hostile), answers + hostile))
    assert grades[0] == grades[1]
    assert {grade.correct for grade in grades[0]} == {True, False}


def test_a_deadline_ends_what_would_not():
    with Grader(cpu_s=1.0) as grader:
        start = time.perf_counter()
        grades = grade(grader, ["1/2"] * 3, [boxed("2/4"), boxed(ENDLESS), boxed("3/6")])
        assert [grade.correct for grade in grades] == [True, False, True]
        assert time.perf_counter() - start < 8


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_verdicts_do_not_depend_on_how_busy_the_machine_is():
    """A comparison that takes half of its processor time, on processors that three others use too, in any order."""
    slow = rf"\sum_{{k=1}}^{{40}} \sqrt{{k}} + {'+'.join(rf'x_{{{k}}}^{{2}}' for k in range(24))}"
    golds, answers = ["1/2", slow, "2/3"], ["0.5", slow.replace("+ x", "+x").replace("}^{2}", "}^{4/2}"), "0.6"]
    others = [multiprocessing.get_context("spawn").Process(target=busy, args=(20,)) for _ in range(6)]
    for process in others:
        process.start()
    verdicts = []
    try:
        for workers, order in ((1, (0, 1, 2)), (3, (2, 1, 0)), (3, (1, 2, 0))):
            with Grader(workers=workers, cpu_s=5.0) as grader:
                grades = grade(grader, [golds[i] for i in order], [boxed(answers[i]) for i in order])
            verdicts.append([graded.correct for _, graded in sorted(zip(order, grades, strict=True))])
    finally:
        for process in others:
            process.kill()
    assert verdicts == [[True, True, False]] * 3


def test_processor_time_is_what_is_limited():
    """A worker that is stopped takes no time, however long it takes; one that computes is ended."""
    with Grader(cpu_s=1.0) as grader, ThreadPoolExecutor() as threads:
        worker = started_worker(grader)
        os.kill(worker, signal.SIGSTOP)
        graded = threads.submit(grade, grader, ["1/2"], [boxed("3/6")])
        time.sleep(3)
        os.kill(worker, signal.SIGCONT)
        assert graded.result(timeout=20)[0].correct
        start = time.perf_counter()
        assert not grade(grader, ["1/2"], [boxed(ENDLESS)])[0].correct
        assert time.perf_counter() - start < 15


def test_a_verdict_is_kept():
    with Grader(cpu_s=1.0) as grader:
        grade(grader, ["1/2"], [boxed(ENDLESS)])
        start = time.perf_counter()
        assert not grade(grader, ["1/2"] * 100, [boxed(ENDLESS)] * 100)[0].correct
        assert time.perf_counter() - start < 0.5


def started_worker(grader: Grader) -> int:
    """Id of the process that `grader` starts for its first pair."""
    others = multiprocessing.active_children()
    assert grade(grader, ["1/2"], [boxed("2/4")])[0].correct
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    return worker.pid


def test_memory_is_limited():
    with Grader(memory_mb=400) as grader:
        limits = Path(f"/proc/{started_worker(grader)}/limits").read_text()
        assert re.search(r"Max address space\s+(\d+)", limits)[1] == str(400 * 2**20)


def test_a_killed_worker_costs_one_pair():
    with Grader(cpu_s=30.0) as grader, ThreadPoolExecutor() as threads:
        worker = started_worker(grader)
        grades = threads.submit(grade, grader, ["1/2"] * 2, [boxed(ENDLESS), boxed("3/6")])
        time.sleep(0.5)
        os.kill(worker, signal.SIGKILL)
        assert [grade.correct for grade in grades.result(timeout=20)] == [False, True]


def test_works_in_a_thread_and_ends_its_processes():
    others = multiprocessing.active_children()
    with ThreadPoolExecutor() as threads, Grader() as grader:
        assert threads.submit(grade, grader, ["1/2"], [boxed("0.5")]).result()[0].correct
    assert multiprocessing.active_children() == others


def test_workers_do_not_import_the_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from tokenshift.problems.grading import Grader\n"
        "print(__name__, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    with Grader() as grader:\n"
        "        print(grader.grade(['math'], ['1/2'], [r'\\boxed{0.5}'])[0].correct, 'torch' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n") == ["__main__", "True False", ""]
    assert ended.stderr == ""


def test_unreadable_references_are_found(grader):
    assert grader.unparsable(["1/2", r"\frac{", "18", "}", "x=3", "", r"\frac{"]) == [1, 3, 5, 6]


def grade_hostile_answers() -> tuple[int, int, float, int, int]:
    """Answers graded, of them correct, seconds, KB of memory gained by this process, and by its largest worker."""
    hostile = responses(quick=255, endless=1, seed=0) + unboxed(seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Grader(workers=2, cpu_s=0.7, memory_mb=1024) as grader:
        start = time.perf_counter()
        grades = grade(grader, ["1/2"] * len(hostile), hostile)
        seconds = time.perf_counter() - start
        assert len(grades) == len(hostile)
        assert grade(grader, ["1/2"], [boxed("2/4")])[0].correct
    gained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return len(grades), sum(grade.correct for grade in grades), seconds, gained, largest


@pytest.mark.xdist_group("cluster")  # after those of the cluster, whose jobs would take the processors from it
def test_two_thousand_hostile_answers_are_graded_in_bounded_time_and_memory():
    # The largest child of a process is remembered for good, so the tests' own process would tell of others.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        graded, correct, seconds, gained, largest = process.submit(grade_hostile_answers).result()
    assert graded > 2000
    assert correct == 0
    assert seconds < 60
    assert gained < 200_000
    assert largest < 1024 * 1024


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the benchmark files in ../shared/data")
def test_every_solution_of_math500_is_correct(grader):
    rows = [json.loads(line) for line in (DATA / "math500.jsonl").read_text().splitlines()]
    golds, solutions = ([row[key] for row in rows] for key in ("answer", "solution"))
    assert len(rows) == 500
    assert all(grade.correct for grade in grade(grader, golds, solutions))
    for altered in (rf"\displaystyle {gold}" for gold in golds), (f"${gold}$" for gold in golds):
        grades = grade(grader, golds, [boxed(answer) for answer in altered])  # so that math-verify is asked
        assert [gold for gold, grade in zip(golds, grades, strict=True) if not grade.correct] == []


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the benchmark files in ../shared/data")
@pytest.mark.parametrize("name", ["math500", "aime24", "amc23", "gsm8k-test"])
def test_every_reference_answer_of_the_benchmarks_is_read(grader, name):
    golds = [json.loads(line)["answer"] for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    assert golds
    assert grader.unparsable(golds) == []
