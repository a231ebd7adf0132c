"""Training with vLLM: responses of the weights of the moment, on any number of processes, going on after a stop."""

import json
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from vllm_jobs import GREEDY, PYTHON, ROOT, command, environment, finished, needs_vllm, problem_file

from tokenshift.config.compute import Hardware
from tokenshift.config.models import Rl
from tokenshift.config.problems import Prompt

SUMS = [(a, b) for a in range(2, 8) for b in range(3, 8)]
PROMPT = Prompt(template="4 + 2: \\boxed{6}.\n7 + 1: \\boxed{8}.\n{problem}:", chat=False, stops=["Ċ", "<|im_end|>"])
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]

pytestmark = needs_vllm


@pytest.fixture(scope="module")
def problems(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "problems.parquet"
    return problem_file(path, [f"{a} + {b}" for a, b in SUMS], [str(a + b) for a, b in SUMS])


def training(model: Path, problems: Path, folder: Path, processes: int = 1, **overrides) -> list[str]:
    """The command of a training job whose model is folder/model; every step ends with greedy responses."""
    given = {
        "recipe": "grpo",
        "kl_coefficient": 0.0,
        "report_base_kl": False,
        "problems": "train",
        "steps": 2,
        "prompts_per_step": 8,
        "mini_batch_prompts": 8,
        "responses_per_prompt": 4,
        "max_new_tokens": 12,
        "overlong": None,
        "learning_rate": 3e-5,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "micro_batch_tokens": 2048,
        "save_every": 1,
        "engine": "vllm",
        "engine_cache_gb": 1,
        "evaluation": {"problems": "train", "every": 1, "samples": 1, "top_p": GREEDY},
    }
    settings = {"code": "", "environment": "", "seed": 1, "prompt": PROMPT.plain(), "compute": Hardware().plain()}
    settings |= {"rl": Rl(**given | overrides).plain()}
    launched = [PYTHON["vllm"], *LAUNCHER, processes] if processes > 1 else [PYTHON["vllm"]]
    files = ["--base", model, "--problems", problems, "--heldout", problems, "--state", folder / "state"]
    script = ROOT / "workflow/scripts/rl.py"
    return [*map(str, [*launched, script, "--spec", json.dumps(settings), *files, "--output", folder / "model"])]


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(model, problems, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    finished(training(model, problems, folder))
    return folder


@pytest.mark.parametrize(("name", "step"), [("initial", 0), ("trained", 2)])
def test_responses_are_those_of_the_weights_of_the_moment(model, problems, trained, tmp_path, name, step):
    folder = {"initial": model, "trained": trained / "model"}[name]
    finished(
        command(
            folder, problems, tmp_path / "own.parquet", "tokenshift", (0, 1), PROMPT, top_p=GREEDY, max_new_tokens=12
        )
    )
    own = pl.read_parquet(tmp_path / "own.parquet")
    reported = next(row for row in metrics(trained) if row["step"] == step)
    assert reported["heldout_accuracy"] == own["correct"].mean()
    assert reported["heldout_length"] == own["response_token_ids"].list.len().mean()


def test_training_has_changed_the_responses(trained):
    before, *_, after = ((row["heldout_accuracy"], row["heldout_length"]) for row in metrics(trained))
    assert before != after
    assert all(row["groups"] > 0 and row["gradient_norm"] > 0 for row in metrics(trained)[1:])


def test_a_stopped_run_goes_on_to_the_same_model(model, problems, trained, tmp_path):
    given = training(model, problems, tmp_path)
    stopped = subprocess.Popen(given, env=environment(), stderr=subprocess.PIPE, text=True)
    while not any((tmp_path / "state").glob("*/step-1")):
        time.sleep(0.1)
        assert stopped.poll() is None
    stopped.send_signal(signal.SIGTERM)
    said = stopped.communicate()[1]
    assert stopped.returncode != 0, said
    assert "stopped by a signal" in said
    finished(given)
    assert metrics(tmp_path) == metrics(trained)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (trained / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_two_processes_draw_what_one_draws(model, problems, trained, tmp_path, zero_stage):
    finished(training(model, problems, tmp_path, processes=2, steps=1, zero_stage=zero_stage))
    ours, theirs = metrics(tmp_path)[:2], metrics(trained)[:2]
    for row, other in zip(ours, theirs, strict=True):
        for name in ("heldout_accuracy", "heldout_length"):
            assert row[name] == pytest.approx(other[name], rel=0.05)
    assert ours[1]["accuracy"] == theirs[1]["accuracy"]
    assert ours[1]["response_length"] == theirs[1]["response_length"]
