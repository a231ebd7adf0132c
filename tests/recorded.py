"""Two jobs of rule `problems`, run by their script: a set that is read, and a generated one without its problems."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from tokenshift.config.problems import ProblemSet
from tokenshift.config.specs import ProblemsSpec
from tokenshift.provenance.hashes import LIBRARY, code_hash, file_hash
from tokenshift.provenance.plan import Job

ROOT = LIBRARY.parents[1]
SCRIPT = ROOT / "workflow/scripts/problems.py"
FIRST, SECOND = "results/mine/problems/first.parquet", "results/mine/problems/second.parquet"


def spec(name: str) -> dict:
    """What rule `problems` gives its script for one of the two sets."""
    entries = {
        "first": {"jsonl": {"path": "first.jsonl"}, "columns": {"problem_id": None}},
        "second": {"reasoning_gym": {"task": "chain_sum", "seed": 7}, "size": 1, "exclude": ["first"]},
    }
    hashes = {"code": code_hash(SCRIPT), "environment": file_hash(ROOT / "envs/data.yaml")}
    problem_set = ProblemSet.model_validate(entries[name])
    return ProblemsSpec(name=name, problems=problem_set, source=None, **hashes).plain()


def job(output: str, *inputs: str) -> Job:
    """The job that makes one of the two sets, as Snakemake plans it."""
    given = shlex.quote(json.dumps(spec(Path(output).stem), sort_keys=True))
    command = f"python $SCRIPTS/problems.py --spec {given} --exclude {' '.join(inputs)} --output {output}"
    return Job("problems", inputs, (output,), f"{command} 2> problems.log")


JOBS = [job(FIRST), job(SECOND, FIRST)]


def run(planned: Job, folder: Path) -> subprocess.CompletedProcess:
    """Run a job's script in `folder`."""
    words = shlex.split(planned.command.partition(" 2> ")[0])
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent)}
    command = [sys.executable, SCRIPT, *words[2:]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def make_both(folder: Path) -> Path:
    """Run both jobs in `folder`."""
    (folder / "first.jsonl").write_text('{"problem": "1 + 1", "answer": "2"}\n')
    for planned in JOBS:
        result = run(planned, folder)
        assert result.returncode == 0, result.stderr
    return folder
