"""The literal command of the README, from the root, on a cluster: the same files as on one machine."""

import math
import re
from pathlib import Path

import pytest

from checkouts import copy_project
from clusters import Project

pytestmark = pytest.mark.study


@pytest.fixture(scope="module")
def submitted(cluster, tmp_path_factory) -> tuple[Project, str]:
    """A copy of the project in which the tiny study has run on the cluster, and what that printed."""
    project = Project.of(copy_project(tmp_path_factory.mktemp("submitted")), "tests/workflow/tiny.yaml")
    result = project.run()
    assert result.returncode == 0, result.stdout[-5000:]
    return project, result.stdout


def test_every_file_equals_that_of_a_local_run(submitted, finished):
    project, _ = submitted
    found, expected = project.files("tiny"), Project(finished.root).files("tiny")
    assert found.keys() == expected.keys()
    assert [name for name, content in found.items() if content != expected[name]] == []


def test_jobs_of_one_rule_that_are_ready_together_are_one_array(submitted):
    _, printed = submitted
    arrays = re.findall(r"Submitted array job with Snakemake IDs ([\d,]+) and SLURM job ID \d+", printed)
    assert sum(len(ids.split(",")) for ids in arrays) >= 4


def test_six_tables_and_their_figures_are_one_job(submitted):
    project, printed = submitted
    together = re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/group_tables", printed)
    tables = len(list((project.root / "results/tiny/tables").glob("*.csv")))
    assert len(together) == math.ceil(tables / 6)


def test_nothing_is_left_to_do_nor_of_temporary_files(submitted):
    project, _ = submitted
    again = project.run("--dry-run")
    assert "Nothing to be done" in again.stdout
    assert [file for file in Path(project.root / "results").rglob(".*.tmp*")] == []
