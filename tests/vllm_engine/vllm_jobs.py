"""Jobs of both engines on SmolLM2, as Snakemake starts them: vLLM's with the Python of its own environment."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tokenshift.artifacts import write_parquet
from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import ResponseSampling
from tokenshift.config.problems import Prompt
from tokenshift.schemas import PROBLEMS

ROOT = Path(__file__).parents[2]
PYTHON = {"vllm": ROOT / ".venv-vllm/bin/python", "tokenshift": Path(sys.executable)}
SCRIPT = {"vllm": "rollouts_vllm.py", "tokenshift": "rollouts.py"}
GREEDY = 1e-6  # a nucleus of the most probable token alone

needs_vllm = pytest.mark.skipif(
    not PYTHON["vllm"].is_file(), reason="vLLM has no environment here: `make test-vllm` makes it"
)


def problem_file(path: Path, problems: Sequence[str], answers: Sequence[str]) -> Path:
    """A Parquet file of problems p0, p1 ... whose answers are integers."""
    ids = [f"p{number}" for number in range(len(problems))]
    given = {"problem_id": ids, "problem": [*problems], "answer": [*answers], "answer_kind": ["integer"] * len(ids)}
    missing = [pl.lit(None, pl.String).alias(name) for name in PROBLEMS.names if name not in given]
    table = pl.DataFrame(given).with_columns(missing).select(PROBLEMS.names).to_arrow()
    write_parquet(path, table.cast(PROBLEMS), PROBLEMS, {}, ())
    return path


def environment() -> dict[str, str]:
    """That of a job, without what is set for the tests of the kernels."""
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return own | {"PYTHONPATH": str(ROOT / "workflow"), "TOKENIZERS_PARALLELISM": "false"}


def command(
    model: Path, problems: Path, output: Path, engine: str, shard: tuple[int, int], prompt: Prompt, **sampling
) -> list[str]:
    """The command of a rollouts job."""
    settings = {
        "code": "",
        "environment": "",
        "seed": 1,
        "prompt": prompt.plain(),
        "evaluation": ResponseSampling(**({"samples": 1, "batch_size": 64} | sampling)).plain(),
        "compute": Hardware().plain(),
    }
    if engine == "vllm":
        settings |= {"engine": "vllm", "gpus": 1}
    files = ["--model", model, "--problems", problems, "--output", output]
    script = ROOT / "workflow/scripts" / SCRIPT[engine]
    return [*map(str, [PYTHON[engine], script, "--spec", json.dumps(settings), *files, "--shard", *shard])]


def finished(given: Sequence[str]) -> str:
    """What a command that ends well says on standard error."""
    result = subprocess.run(given, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-5000:]
    return result.stderr
