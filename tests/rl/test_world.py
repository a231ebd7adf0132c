"""Training on two processes against training on one: same steps, same runs, whatever DeepSpeed splits."""

import json
from pathlib import Path

import pytest
import torch

import processes
from tiny_rl import SMALL, TOKENIZER, guesser, random_groups, settings, train_guesser
from tiny_training import start, tiny_model, weights
from tokenshift.config.models import Rl
from tokenshift.rl.trainer import Trainer
from tokenshift.training import log_probs
from tokenshift.training.engine import gathered, join_world
from tokenshift.training.world import World

WIDE = {"intermediate_size": 4096}  # enough for ZeRO stage 3 to split its parameters
LARGE = 4096  # tokens; enough for it to split the embeddings, which are the output head


def ten_updates(file: str, rl: Rl, vocabulary_size: int) -> None:
    """Save the weights before and after each of ten updates, of two optimiser steps each.

    The output head gives the logits of five targets at a time.
    """
    log_probs.CHUNK_BYTES = 5 * 4 * vocabulary_size
    engine = start(tiny_model(vocabulary_size), rl)
    trainer = Trainer(engine, tiny_model(vocabulary_size).eval(), rl)
    seen, metrics = [], []
    for number in range(11):
        if number:
            metrics.append(trainer.update(random_groups()))
        with gathered(engine):
            seen.append(torch.cat([weight.flatten().double() for weight in weights(engine.module).values()]))
    if World.current().first:
        torch.save((torch.stack(seen).diff(dim=0), metrics), file)


def updates(folder: Path, size: int, vocabulary_size: int = 13, **overrides) -> tuple[torch.Tensor, list[dict]]:
    """Changes of the weights (10, number of weights), and the metrics of each update."""
    fixed = {"kl_coefficient": 0.1, "learning_rate": 1e-3, "entropy_bonus": 0.0}
    rl = settings("dapo", weight={"divergence": {"alpha": 20.0}}, **fixed | overrides)
    file = folder / f"{size}-{'-'.join(map(str, overrides.values()))}.pt"
    processes.run(size, folder / "log", ten_updates, str(file), rl, vocabulary_size)
    return torch.load(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return updates(tmp_path_factory.mktemp("alone"), 1, micro_batch_size=16)


LAYOUTS = [
    (1, {"micro_batch_size": 1}),
    (1, {"micro_batch_size": 4}),
    (1, {"micro_batch_size": 16, "micro_batch_tokens": 25}),
    (2, {"micro_batch_size": 1}),
    (2, {"micro_batch_size": 4}),
    (2, {"micro_batch_size": 16}),
    (2, {"micro_batch_size": 4, "zero_stage": 1}),
    (2, {"micro_batch_size": 4, "zero_stage": 2}),
    (2, {"micro_batch_size": 4, "zero_stage": 3}),
    (2, {"micro_batch_size": 4, "zero_stage": 2, "gradient_checkpointing": True}),
]


@pytest.mark.parametrize(("size", "layout"), LAYOUTS)
def test_an_update_depends_on_no_layout(tmp_path, alone, size, layout):
    changes, metrics = updates(tmp_path, size, **layout)
    expected, expected_metrics = alone
    assert ((changes - expected).norm(dim=1) < 1e-5 * expected.norm(dim=1)).all()
    for row, other in zip(metrics, expected_metrics, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Changes of the weights of a large model on one process, under stage 3 as those that it is compared with.

    Stage 3's own arithmetic is off by 2e-6 at the first update and 2e-5 at the tenth.
    """
    return updates(tmp_path_factory.mktemp("whole"), 1, LARGE, zero_stage=3)[0]


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_a_split_output_head_gives_the_updates_of_a_whole_one(tmp_path, whole, gradient_checkpointing):
    layout = {"micro_batch_size": 4, "zero_stage": 3, "gradient_checkpointing": gradient_checkpointing}
    split, _ = updates(tmp_path, 2, LARGE, **layout)
    assert ((split - whole).norm(dim=1) < 1e-5 * whole.norm(dim=1)).all()


def test_in_bfloat16_two_processes_take_the_steps_of_one_but_for_rounding(tmp_path):
    (one, two, split), metrics = zip(
        updates(tmp_path, 1, precision="bfloat16"),
        updates(tmp_path, 2, precision="bfloat16"),
        updates(tmp_path, 2, precision="bfloat16", zero_stage=2),
        strict=True,
    )
    for changes in (two, split):
        assert (changes - one).norm() < 0.1 * one.norm()
    for row, other, third in zip(*metrics, strict=True):
        assert other == pytest.approx(row, rel=0.05, abs=1e-3)
        assert third == pytest.approx(row, rel=0.05, abs=1e-3)


def train_wide(folder: str, weights_file: str, rl: Rl) -> None:
    model = tiny_model(len(TOKENIZER), **WIDE)
    model.load_state_dict(torch.load(weights_file))
    train_guesser(Path(folder), model, rl)


def run_wide(folder: Path, size: int, weights_file: Path, **overrides) -> list[dict]:
    """The metrics of a whole run on `size` processes, step by step."""
    rl = settings("dapo", **SMALL | {"steps": 3}, evaluation={"problems": "train", "every": 2}, **overrides)
    processes.run(size, folder / "log", train_wide, str(folder / "model"), str(weights_file), rl)
    return [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> tuple[Path, list[dict]]:
    """Weights of a wide guesser to start from, and the metrics of its run on one process."""
    folder = tmp_path_factory.mktemp("wide")
    torch.save(guesser(**WIDE).state_dict(), folder / "weights.pt")
    return folder / "weights.pt", run_wide(folder, 1, folder / "weights.pt")


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_runs_on_two_processes_with_split_parameters_are_those_of_one(tmp_path, wide, gradient_checkpointing):
    weights_file, alone = wide
    split = run_wide(tmp_path, 2, weights_file, zero_stage=3, gradient_checkpointing=gradient_checkpointing)
    for row, other in zip(alone, split, strict=True):
        assert row == pytest.approx(other, rel=1e-2, abs=1e-5)
    assert "heldout_accuracy" in alone[-1]


def exchange(folder: str) -> None:
    join_world("cpu")
    world = World.current()
    answers = {
        "merged": world.merged([item * 10 for item in world.share(range(5))]),
        "joined": world.joined(torch.arange(world.rank + 1)).tolist(),
        "any": [world.any(world.rank == 1, torch.device("cpu")), world.any(False, torch.device("cpu"))],
    }
    (Path(folder) / f"{world.rank}.json").write_text(json.dumps(answers))


def test_what_processes_exchange(tmp_path):
    processes.run(2, tmp_path / "log", exchange, str(tmp_path))
    for rank in range(2):
        answers = json.loads((tmp_path / f"{rank}.json").read_text())
        assert answers == {"merged": [0, 10, 20, 30, 40], "joined": [0, 0, 1], "any": [True, False]}
