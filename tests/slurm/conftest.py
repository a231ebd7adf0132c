"""The test cluster, started once for all tests that use it."""

import os

import pytest

import clusters
from checkouts import copy_project
from clusters import Project

TINY = "tests/workflow/tiny.yaml"


@pytest.fixture(scope="session")
def cluster():
    """SLURM on this host. Where that cannot be, tests are skipped; in continuous integration they fail."""
    if obstacle := clusters.obstacle():
        pytest.fail(obstacle) if os.environ.get("CI") else pytest.skip(obstacle)
    clusters.cluster("start")
    yield
    clusters.cluster("stop")


@pytest.fixture
def project(tmp_path):
    """A copy of the project, its study the tiny one, and no job of it left in SLURM afterwards."""
    made = Project.of(copy_project(tmp_path / "project"), TINY)
    yield made
    if clusters.shutil.which("squeue"):
        made.cancel()
