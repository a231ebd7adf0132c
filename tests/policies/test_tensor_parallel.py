"""Models split over two processes against the same models in one: scores, rollouts and cross-samples."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from polars.testing import assert_frame_equal

import processes
from cross_sampling.two_policies import ALL_CRITERIA, resources
from policies.architectures import VOCABULARY, made
from tiny_models import save_tokenizer
from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import Compared, Truncation
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import PairPrompts
from tokenshift.cross_sampling.decoder import SweepTask, cross_sample
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies.generation import generate
from tokenshift.policies.policy import load_pair
from tokenshift.policies.tensor_parallel import output_of, splits
from tokenshift.scoring.teacher_forcing import Work, score

SPLIT = Hardware(placement="sharded", dtype="float32")
SAMPLING = Sampling(1.0, 0.9, 12)
ROWS = 6


def save_pair(folder: Path, name: str) -> list[Path]:
    folders = [folder / f"{name}-{place}" for place in ("base", "tuned")]
    for seed, place in enumerate(folders):
        made(name, seed).float().save_pretrained(place)
        save_tokenizer(place, "".join(chr(ord("a") + n) for n in range(VOCABULARY - 2)))
    return folders


def compute(folders: list[Path], file: Path) -> None:
    """Score, decode and cross-sample with the pair, and save what came out, with how many parameters are held here."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    pair = load_pair(*folders, PairPrompts(base=Prompt(), tuned=Prompt()), SPLIT)
    random = np.random.default_rng(0)
    prompts = [random.integers(2, VOCABULARY, 3).tolist() for _ in range(ROWS)]
    names = [str(row) for row in range(ROWS)]
    noise, coins = (uniforms(0, purpose, names, [0] * ROWS, 12) for purpose in ("token", "coin"))
    rollouts = generate(pair[1], prompts, noise, SAMPLING, 4)
    task = SweepTask(prompts, noise, coins, ALL_CRITERIA["js"], [0.6, 0.2, 0.05], SAMPLING)
    sweep, _ = cross_sample(*pair, task, resources(4, 3))
    rows = {"problem_id": names, "sample": [0] * ROWS, "prompt_token_ids": prompts, "response_token_ids": rollouts}
    tables = score(*pair, pl.DataFrame(rows), Truncation(top_p=0.7), Compared(), Work(60, 16))
    held = sum(
        (weight.to_local() if hasattr(weight, "to_local") else weight).numel() for weight in pair[0].model.parameters()
    )
    with output_of(file) as output:
        torch.save([pa.concat_tables(tables), rollouts, [[s.response for s in level] for level in sweep], held], output)


@pytest.mark.parametrize("name", ["Llama", "Qwen3Moe", "Olmo3", "Gemma3Text"])
def test_two_processes_come_to_what_one_does(tmp_path, name):
    folders = save_pair(tmp_path, name)
    assert all(splits(folder, 2) for folder in folders)
    for size in (1, 2):
        processes.run(size, tmp_path / "log", compute, folders, tmp_path / f"{size}.pt")
    alone, together = (torch.load(tmp_path / f"{size}.pt", weights_only=False) for size in (1, 2))
    assert_frame_equal(pl.from_arrow(together[0]), pl.from_arrow(alone[0]), abs_tol=1e-4, rel_tol=0)
    assert together[1:3] == alone[1:3]
    assert together[3] < 0.6 * alone[3]


def test_a_model_that_cannot_be_split_is_left_to_the_first(tmp_path):
    folders = save_pair(tmp_path, "Mamba")
    assert not splits(folders[0], 2)
    processes.run(2, tmp_path / "log", compute, folders, tmp_path / "made.pt")
    assert (tmp_path / "made.pt").is_file()


def test_splits_only_evenly(tmp_path):
    folder = save_pair(tmp_path, "Llama")[0]
    assert not splits(folder, 3)
