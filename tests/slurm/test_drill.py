"""A short drill: the faults that need no minutes to be noticed."""

import random

import pytest

from drill import drill

pytestmark = pytest.mark.study


def test_a_disturbed_run_gives_the_files_of_an_undisturbed_one(cluster, tmp_path):
    lines: list[str] = []
    faults = ["kill_job", "kill_main", "scancel"]
    drill(tmp_path, len(faults), random.randrange(1000), faults, lines.append)
    assert len([line for line in lines if not line.startswith("| |")]) == len(faults)
    assert "files equal" in lines[-1]
