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


def test_every_file_equals_that_of_an_undisturbed_local_run(submitted, finished):
    compare(submitted.files("tiny"), Project(finished.root).files("tiny"))


def test_six_tables_and_their_figures_are_one_job(submitted):
    together = re.findall(
        r"has been submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/group_tables", submitted.full_log()
    )
    tables = len(list((submitted.root / "results/tiny/tables").glob("*.csv")))
    assert len(together) == math.ceil(tables / 6)


def test_nothing_is_left_to_do(submitted):
    assert "Nothing to be done" in submitted.run("--dry-run").stdout
