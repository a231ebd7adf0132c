"""Runs that are killed or asked to stop, again and again, against one that is left alone: the same bytes."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

import processes
from tiny_rl import PROBLEMS, PROMPT, SMALL, TOKENIZER, guesser, settings
from tiny_training import file_bytes
from tokenshift.artifacts import write_parquet
from tokenshift.config.compute import Hardware
from tokenshift.config.models import Rl
from tokenshift.config.specs import RlSpec
from tokenshift.schemas import PROBLEMS as SCHEMA

RL = SMALL | {"steps": 16, "save_every": 2, "checkpoint_every": 4, "warmup_steps": 5, "weight": {"sibling": {"c": 0.2}}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    guesser().save_pretrained(folder / "base")
    TOKENIZER.save_pretrained(folder / "base")
    write_parquet(folder / "train.parquet", PROBLEMS.to_arrow(), SCHEMA, {}, ())
    return folder


def arguments(inputs: Path, folder: Path, rl: Rl) -> list[str]:
    spec = RlSpec(code="", environment="", rl=rl, seed=5, prompt=PROMPT, compute=Hardware())
    given = {
        "spec": json.dumps(spec.plain()),
        "base": inputs / "base",
        "problems": inputs / "train.parquet",
        "heldout": inputs / "train.parquet",
        "state": folder / "state",
        "output": folder / "model",
    }
    return [text for name, value in given.items() for text in (f"--{name}", str(value))]


def steps_done(folder: Path) -> int:
    lines = [len(file.read_text().splitlines()) for file in folder.glob("state/*/model/metrics.jsonl")]
    return max(lines, default=1) - 1  # the first line is the initial policy's evaluation


def interrupted(folder: Path, size: int, given: list[str], step: int, number: int) -> list[int | None]:
    """Exit codes of a run whose processes all receive signal `number` once it has reported `step`, or one step more."""
    step = max(step, steps_done(folder) + 1)
    running = processes.start(size, folder / "log", processes.script, "rl.py", given)
    until = time.monotonic() + 60
    while steps_done(folder) < step and all(process.is_alive() for process in running):
        assert time.monotonic() < until
        time.sleep(0.001)
    for process in running:
        if process.is_alive():
            os.kill(process.pid, number)
    return processes.ended(running)


@pytest.mark.parametrize(("size", "zero_stage"), [(1, 0), (2, 2)])
def test_an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, inputs, size, zero_stage):
    rl = settings("dapo", **RL, zero_stage=zero_stage, evaluation={"problems": "train", "every": 3})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    processes.run(size, whole / "log", processes.script, "rl.py", arguments(inputs, whole, rl))
    signals = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]
    stops = zip(sorted(random.sample(range(1, 11), 3)), signals, strict=True)
    given = arguments(inputs, cut, rl)
    for step, number in stops:
        codes = interrupted(cut, size, given, step, number)
        assert codes == [-signal.SIGKILL if number == signal.SIGKILL else 1] * size, (cut / "log").read_text()[-3000:]
        assert not (cut / "model").exists()
    assert (cut / "log").read_text().count("stopped by a signal after step") == size
    processes.run(size, cut / "log", processes.script, "rl.py", given)
    assert file_bytes(cut / "model") == file_bytes(whole / "model")
    assert len((cut / "model/metrics.jsonl").read_text().splitlines()) == 1 + 16
    assert not list((cut / "state").glob("*/step-*"))
