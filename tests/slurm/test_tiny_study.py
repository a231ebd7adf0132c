"""The tiny study on a cluster, disturbed three times and recovered as README says: the same files as on one machine."""

import math
import random
import re
import time
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
            time.sleep(run.rng.uniform(1, 30))
            assert run.strike(fault) is not None, project.log.read_text()[-5000:]
        run.finish()
        yield project
    finally:
        run.end()


@pytest.fixture(scope="module")
def submissions(submitted) -> str:
    """What Snakemake's full logs say, those of restarts included."""
    return "".join(log.read_text() for log in (submitted.root / ".snakemake/log").glob("*.log"))


def test_every_file_equals_that_of_an_undisturbed_local_run(submitted, finished):
    compare(submitted.files("tiny"), Project(finished.root).files("tiny"))


def test_jobs_of_one_rule_that_are_ready_together_are_one_array(submissions):
    arrays = re.findall(r"Submitted array job with Snakemake IDs ([\d,]+) and SLURM job ID \d+", submissions)
    assert sum(len(ids.split(",")) for ids in arrays) >= 4


def test_six_tables_and_their_figures_are_one_job(submitted, submissions):
    together = re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/group_tables", submissions)
    tables = len(list((submitted.root / "results/tiny/tables").glob("*.csv")))
    assert len(together) == math.ceil(tables / 6)


def test_nothing_is_left_to_do(submitted):
    assert "Nothing to be done" in submitted.run("--dry-run").stdout
