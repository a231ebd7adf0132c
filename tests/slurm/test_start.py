"""Runs that SLURM would refuse, or that would disturb an earlier one, end before they begin."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from checkouts import ROOT
from clusters import jobs, slurm
from tokenshift.cluster.start import refuse_live_jobs, submission
from tokenshift.errors import StudyError

pytestmark = pytest.mark.study

TARGET = "results/tiny/problems/heldout.parquet"


def submit(folder: Path, name: str) -> None:
    command = ["sbatch", "--job-name", name, "-D", folder, "--mem=50", "--output=/dev/null", "--wrap", "sleep 300"]
    subprocess.run(command, check=True, capture_output=True)


def refused(project, result, message: str) -> None:
    assert result.returncode != 0
    assert message in result.stdout
    assert jobs(project.root) == []
    assert not list((project.root / "results").rglob("*.parquet"))


def test_a_start_over_live_jobs_is_refused_and_says_how_to_end_them(cluster, project):
    submit(project.root, "tokenshift_earlier")
    submit(project.root, "tokenshift_still_earlier")
    result = project.run(TARGET)
    assert result.returncode != 0
    assert not (project.root / TARGET).exists()
    commands = [line.split() for line in result.stdout.splitlines() if line.startswith("    scancel ")]
    assert len(commands) == 2
    for command in commands:
        slurm(*command)
    until = time.monotonic() + 30
    while jobs(project.root) and time.monotonic() < until:
        time.sleep(0.2)
    refuse_live_jobs(project.root)


def test_jobs_of_other_folders_and_of_other_names_are_no_obstacle(cluster, tmp_path):
    (tmp_path / "other").mkdir()
    submit(tmp_path / "other", "tokenshift_other")
    submit(tmp_path, "mine")
    refuse_live_jobs(tmp_path)
    with pytest.raises(StudyError, match="scancel --name=tokenshift_other"):
        refuse_live_jobs(tmp_path / "other")
    for name in ("tokenshift_other", "mine"):
        slurm("scancel", f"--name={name}")


@pytest.mark.parametrize(
    ("variables", "compute", "message"),
    [
        ({"SBATCH_PARTITION": "cpu"}, {"device": "cuda", "gpus": 1}, "The nodes of cpu do not have the GPUs"),
        ({"SBATCH_PARTITION": "project"}, {}, "export SBATCH_ACCOUNT=..."),
        ({"SBATCH_PARTITION": "nowhere"}, {}, "Name an existing partition"),
        ({}, {"device": "cuda", "gpus": 5}, "The nodes of the default partition do not have the GPUs"),
        ({}, {"threads": 64}, "lower compute.threads, mem_mb or runtime"),
    ],
    ids=["partition without GPUs", "missing account", "unknown partition", "too many GPUs", "too many CPUs"],
)
def test_what_slurm_would_refuse_is_refused_at_the_start(cluster, project, variables, compute, message):
    tiny = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    (project.root / "study.yaml").write_text(yaml.safe_dump({**tiny, "compute": compute}))
    refused(project, project.run("--config", "study=study.yaml", **variables), message)


def test_without_slurm_on_the_path(project, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("bash", "env", "git", "which", "sh", "python3"):
        (bare / tool).symlink_to(shutil.which(tool))
    venv = Path(shutil.which("snakemake", path=project.environment()["PATH"])).parent
    result = project.run(TARGET, PATH=f"{venv}:{bare}")
    assert result.returncode != 0
    assert "sbatch, squeue, srun, scancel is not on PATH: start Snakemake on the cluster's login node" in result.stdout
    assert not (project.root / TARGET).exists()


def test_several_nodes_need_slurm(project):
    tiny = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    (project.root / "study.yaml").write_text(yaml.safe_dump({**tiny, "compute": {"nodes": 2}}))
    command = ["snakemake", "--cores", "2", "--config", "study=study.yaml"]
    result = subprocess.run(
        command, cwd=project.root, env=project.environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "compute.nodes is 2" in result.stderr + result.stdout
    assert not os.path.exists(project.root / "results/tiny/problems")


def test_a_request_as_a_submission():
    asked = {"slurm_account": "physics", "gpu": 2, "gpu_model": "h200", "mem_mb": 100, "nodes": None, "threads": 3}
    flags = ["--account=physics", "--mem=100", "--cpus-per-task=3", "--gpus=h200:2"]
    assert submission(asked)[4:] == flags
