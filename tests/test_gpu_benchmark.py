"""The script that checks and measures on a GPU, with tiny models on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks/gpu.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_every_part_runs():
    result = run("--rehearse")
    assert result.returncode == 0, result.stdout + result.stderr
    parts = ["check_kernels", "check_models", "scoring", "generation_small", "generation_large", "two_policies"]
    parts += ["training_step", "update_kinds"]
    assert [line.split(":")[0] for line in result.stderr.splitlines() if line.endswith(" s")] == parts
    assert "floor / ours" in result.stdout
    assert "failed" not in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run `make gpu`")
def test_without_a_gpu_it_says_so():
    result = run()
    assert (result.returncode, result.stdout) == (0, "No GPU here: nothing to check or measure.\n")
