"""A main process that dies when a training job has just ended: its model is not trained again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checkouts import Checkout

pytestmark = pytest.mark.study

STUDY = ["--config", "study=tests/workflow/tiny.yaml"]
MODEL = "results/tiny/models/base/manifest.json"


def killed_once_there_is(checkout: Checkout, file: Path, target: str) -> None:
    """Start Snakemake, and kill it and its jobs at once when `file` appears."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *STUDY, "--", target]
    log = open(checkout.root / "main.log", "w")  # noqa: SIM115 (the process keeps it)
    process = subprocess.Popen(command, cwd=checkout.root, stdout=log, stderr=log, start_new_session=True)
    until = time.monotonic() + 600
    while not file.exists():
        assert time.monotonic() < until, (checkout.root / "main.log").read_text()[-3000:]
        assert process.poll() is None, (checkout.root / "main.log").read_text()[-3000:]
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def steps(root: Path) -> list[int]:
    (times,) = root.glob("results/tiny/training_state/base/*/times.jsonl")
    return [json.loads(line)["step"] for line in times.read_text().splitlines()]


def test_a_finished_model_is_published_again_and_not_trained_again(checkout):
    root, record = checkout.root, checkout.root / f"{MODEL}.prov.json"
    killed_once_there_is(checkout, record, MODEL)
    taken = steps(root)
    assert taken == [*range(1, 151)]
    weights = (root / MODEL).with_name("model.safetensors").read_bytes()
    assert checkout.snakemake("--unlock").returncode == 0
    planned = checkout.planned_rules("--", MODEL)
    result = checkout.snakemake("--", MODEL)
    assert result.returncode == 0, result.stderr[-3000:]
    assert planned == {"pretrain"}
    assert steps(root) == taken
    assert (root / MODEL).with_name("model.safetensors").read_bytes() == weights
    # What the run would go on from is there until a later start finds the model complete.
    (state,) = root.glob("results/tiny/training_state/base/*")
    assert (state / "finished.json").is_file()
    result = checkout.snakemake("--", "results/tiny/rollouts/base/heldout.parquet")
    assert result.returncode == 0, result.stderr[-3000:]
    assert {file.name for file in state.iterdir()} <= {"spec.json", "times.jsonl", "tensorboard"}
    assert checkout.planned_rules("--", MODEL) == set()
