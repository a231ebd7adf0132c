"""The tiny study on a cluster, disturbed three times and recovered as README says: the same files as on one machine."""

import math
import random
import re
from collections.abc import Iterator

import pytest

from checkouts import copy_project
from clusters import Project
from drill import Drill, compare

pytestmark = pytest.mark.study


@pytest.fixture(scope="module")
def submitted(cluster, tmp_path_factory) -> Iterator[Project]:
    """A copy of the project in which the tiny study has run on the cluster."""
    project = Project.of(copy_project(tmp_path_factory.mktemp("submitted")), "tests/workflow/tiny.yaml")
    run = Drill(project, "tiny", random.Random())
    run.start()
    try:
        for fault in ("kill_job", "kill_main", "scancel"):
            assert run.strike(fault) is not None, project.log.read_text()[-5000:]
        run.finish()
        yield project
    finally:
        run.end()


def test_every_file_equals_that_of_an_undisturbed_local_run(submitted, finished):
    compare(submitted.files("tiny"), Project(finished.root).files("tiny"))


def test_jobs_of_one_rule_that_are_ready_together_are_one_array(submitted):
    printed = submitted.log.read_text()
    arrays = re.findall(r"Submitted array job with Snakemake IDs ([\d,]+) and SLURM job ID \d+", printed)
    assert sum(len(ids.split(",")) for ids in arrays) >= 4


def test_six_tables_and_their_figures_are_one_job(submitted):
    printed = submitted.log.read_text()
    together = re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/group_tables", printed)
    tables = len(list((submitted.root / "results/tiny/tables").glob("*.csv")))
    assert len(together) == math.ceil(tables / 6)


def test_nothing_is_left_to_do(submitted):
    assert "Nothing to be done" in submitted.run("--dry-run").stdout
