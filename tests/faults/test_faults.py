"""Each bad input has its one line; whole runs end as early where the machine, not a file, is odd."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bad_inputs import NO_GPU, BadInput, answer_to, bad_inputs
from checkouts import Checkout, copy_project


@pytest.mark.parametrize("given", list(bad_inputs()), ids=lambda given: f"{given.kind}: {given.name}")
def test_a_bad_input_is_told_in_one_line(tmp_path, given: BadInput):
    if given.name == NO_GPU and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    answer = answer_to(given, tmp_path)
    assert answer.faults(given.says) == [], answer.said[-3000:]


WANTED = "results/tiny/problems/heldout.parquet"
ODD_FOLDERS = ["a b", "it's", 'a"b', "semi;touch executed;", "$(touch executed)", "back\\slash", "[a]*"]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project's files, to be moved from one odd folder to the next."""
    return copy_project(tmp_path_factory.mktemp("odd") / "project").root


@pytest.mark.study
@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_the_project_may_lie_in_a_folder_of_any_name(project, name):
    moved = project.rename(project.parent / name)
    try:
        shutil.rmtree(moved / "results", ignore_errors=True)
        result = Checkout(moved).snakemake("--config", "study=tests/workflow/tiny.yaml", "--", WANTED)
        assert result.returncode == 0, result.stderr[-2000:]
        assert (moved / WANTED).is_file()
        assert not list(moved.parent.rglob("executed"))
    finally:
        moved.rename(project)


@pytest.mark.study
@pytest.mark.parametrize("name", ["co:lon", "with{braces}"])
def test_a_folder_that_no_job_could_run_in_is_refused(project, name):
    moved = project.rename(project.parent / name)
    try:
        refused(Checkout(moved).snakemake("--", WANTED), "in its path: PATH holds no ':', and Snakemake takes braces")
    finally:
        moved.rename(project)


def refused(result: subprocess.CompletedProcess, says: str) -> None:
    """A run that ended before any job, with these words and no traceback."""
    said = result.stdout + result.stderr
    assert result.returncode != 0
    assert says in said
    assert "Traceback" not in said
    assert "InputFunctionException" not in said


@pytest.mark.study
@pytest.mark.parametrize(
    ("study", "says"),
    [
        ("1", "study is 1: give the name or the file of a study"),
        ("", "give the name or the file of a study"),
        ("[a]", "study is ['a']: give the name"),
        ("minature", "did you mean 'miniature'?"),
        ("../../etc/passwd", "no study file"),
        ("a" * 5000, "no study file"),
    ],
)
def test_a_study_that_is_none(project, study, says):
    refused(Checkout(project).snakemake("--config", f"study={study}", "--dry-run"), says)


@pytest.mark.study
def test_a_folder_in_a_file_s_place_is_no_result(project):
    folder = project / "results/tiny/tables/sparsity.csv"
    folder.mkdir(parents=True)
    try:
        refused(Checkout(project).snakemake("--dry-run"), "sparsity.csv is a folder where a file should be; delete it")
    finally:
        shutil.rmtree(project / "results")


@pytest.mark.study
def test_jobs_have_no_standard_input(project):
    """What is piped into Snakemake answers no question that a library might ask."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "study=tests/workflow/tiny.yaml"]
    script = project / "workflow/scripts/problems.py"
    text = script.read_text()
    script.write_text(text.replace("def main() -> None:\n", "def main() -> None:\n    assert input() == ''\n", 1))
    try:
        result = subprocess.run([*command, "--", WANTED], cwd=project, input="y\n" * 99, text=True, capture_output=True)
    finally:
        script.write_text(text)
    assert "EOFError" in result.stdout + result.stderr
