"""What the RL run reports, and how it ends where it cannot go on."""

import copy
import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable

import polars as pl
import pytest
import torch
from transformers import Qwen2ForCausalLM

from tiny_rl import SMALL, guesser, rollouts_of, settings, train_guesser
from tiny_training import file_bytes, start
from tokenshift.errors import StudyError
from tokenshift.problems.grading import Grader
from tokenshift.rl.objective import Sampled
from tokenshift.rl.trainer import MicroBatch, Trainer
from tokenshift.training.batches import Padded
from tokenshift.training.engine import NonFiniteLoss, optimiser_step
from tokenshift.training.run import Stopped


@pytest.fixture(scope="module")
def model():
    return guesser()


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_step_reports_what_the_study_needs(tmp_path, model):
    rl = settings(
        "dapo",
        **SMALL | {"steps": 3},
        weight={"divergence": {"alpha": 20.0}},
        evaluation={"problems": "train", "every": 2, "samples": 3},
    )
    train_guesser(tmp_path / "run", model, rl)
    reported = rows(tmp_path / "run")
    every = {"step", "draws", "groups", "filtered_groups", "reward", "accuracy", "response_length", "loss", "entropy"}
    every |= {"clip_low", "clip_high", "kl_old", "kl_base", "weight", "weight_min", "weight_max", "gradient_norm"}
    every |= {"kl_old_p90", "weighted_share"}
    heldout = {"heldout_accuracy", "heldout_length"}
    assert set(reported[0]) == {"step"} | heldout
    assert [set(row) - every for row in reported[1:]] == [set(), heldout, heldout]
    assert all(every <= set(row) for row in reported[1:])
    assert [row["step"] for row in reported] == [0, 1, 2, 3]
    (times,) = (tmp_path / "run.state").glob("*/times.jsonl")
    spent = [json.loads(line) for line in times.read_text().splitlines()]
    rollout, update = ("generation_seconds", "grading_seconds"), ("log_probs_seconds", "gradient_seconds")
    update = (*update, "optimiser_seconds")
    keys = {"step", "rollout_seconds", "update_seconds", "tokens_per_second", *rollout, *update}
    evaluated = {"evaluation_seconds"}
    assert [set(row) for row in spent] == [{"step"} | evaluated, keys, keys | evaluated, keys | evaluated]
    for row in spent[1:]:
        assert 0 < sum(row[name] for name in rollout) <= row["rollout_seconds"]
        assert 0 < sum(row[name] for name in update) <= row["update_seconds"]


def test_without_a_copy_of_the_initial_policy_its_kl_is_not_reported(tmp_path, model):
    train_guesser(tmp_path / "run", model, settings("dapo", **SMALL | {"steps": 1}, report_base_kl=False))
    assert "kl_base" not in rows(tmp_path / "run")[0]


def breaking(model: Qwen2ForCausalLM, generating: bool) -> Qwen2ForCausalLM:
    """A copy of `model` whose output head becomes NaN, once it has been trained, where it next generates or trains.

    By assignment: how a weight that is too large overflows depends on the processor.
    """
    copied = copy.deepcopy(model)
    initial = model.lm_head.weight.detach().clone()

    def break_if_trained(head: torch.nn.Linear, _: object) -> None:
        if torch.is_inference_mode_enabled() == generating and not torch.equal(head.weight, initial):
            head.weight.data.fill_(math.nan)

    copied.lm_head.register_forward_pre_hook(break_if_trained)
    return copied


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step_and_state(tmp_path, model):
    rl = settings("dapo", **SMALL | {"warmup_steps": 0}, save_every=1)
    with pytest.raises(StudyError, match="step 1: the loss is nan; what it started from"):
        train_guesser(tmp_path / "run", breaking(model, generating=False), rl)
    assert not (tmp_path / "run").exists()


def test_an_optimiser_step_that_failed_can_be_taken_again(tmp_path, model):
    # The first mini-batch moves the weights, the second fails.
    rl = settings("dapo", **SMALL | {"warmup_steps": 0})
    with pytest.raises(StudyError, match="and no state was saved yet"):
        train_guesser(tmp_path / "run", breaking(model, generating=False), rl)
    (failed,) = (tmp_path / "run.state").glob("*/failed-step-1")
    engine = start(copy.deepcopy(model), rl)
    engine.load_checkpoint(str(failed.parent), tag=failed.name)
    trainer = Trainer(engine, None, rl)
    with torch.serialization.safe_globals([MicroBatch, Padded, Sampled]):
        micro_batches = torch.load(failed / "batch-0.pt")
    with pytest.raises(NonFiniteLoss) as raised:
        optimiser_step(engine, micro_batches, lambda micro_batch: trainer.loss(micro_batch)[0])
    assert json.loads((failed / "failure.json").read_text()) == {"step": 1, "cause": str(raised.value)}


def test_the_state_before_logits_that_are_not_finite_is_kept(tmp_path, model):
    # The first step moves the weights, the second finds no finite logits.
    rl = settings("grpo", **SMALL | {"mini_batch_prompts": 2}, save_every=1)
    message = r"step 2: .*logits are not finite.*; the state after step 1 is kept in"
    with pytest.raises(StudyError, match=message):
        train_guesser(tmp_path / "run", breaking(model, generating=True), rl)
    (state,) = (tmp_path / "run.state").glob("*/step-1/state.json")
    assert json.loads(state.read_text())["position"]["step"] == 1


def test_a_run_may_stop_where_no_group_is_mixed(tmp_path, model):
    rl = settings("dapo", **SMALL | {"max_new_tokens": 3}, dynamic_sampling_draws=2, no_mixed_groups="stop")
    with pytest.raises(StudyError, match=r"step 1: 0 of 2 groups of mixed correctness after 2 draws.*is stop"):
        train_guesser(tmp_path / "run", model, rl)


def signalling(last: int) -> tuple[Callable[..., None], list[int]]:
    """A forward hook that asks this process to stop at forward pass `last` of generation, and how many came after."""
    passes, after = [0], [0]

    def hook(*_: object) -> None:
        if torch.is_inference_mode_enabled():
            after[0] += passes[0] >= last
            passes[0] += 1
            if passes[0] == last:
                os.kill(os.getpid(), signal.SIGTERM)

    return hook, after


FOUR_STEPS = settings("grpo", **SMALL | {"steps": 4}, save_every=2, evaluation={"problems": "train", "every": 3})


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model):
    """The files of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train_guesser(folder, model, FOUR_STEPS)
    return file_bytes(folder)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (10, "during an evaluation; no state was saved yet"),
        (20, "after step 0"),
        (45, "after step 2"),
        (60, "during an evaluation; the state after step 2"),
    ],
)
def test_a_signal_ends_generation_at_the_next_token_and_the_run_goes_on_as_if_it_had_not_come(
    tmp_path, model, whole, last, message
):
    stopping = copy.deepcopy(model)
    hook, after = signalling(last)
    stopping.lm_head.register_forward_hook(hook)
    with pytest.raises(Stopped, match=message):
        train_guesser(tmp_path / "cut", stopping, FOUR_STEPS)
    assert after == [0]
    train_guesser(tmp_path / "cut", model, FOUR_STEPS)
    assert file_bytes(tmp_path / "cut") == whole


def test_an_empty_training_set_is_refused(model):
    with Grader() as grader:
        rollouts = rollouts_of(model, grader, settings("dapo", **SMALL))
        empty = dataclasses.replace(rollouts, problems=pl.DataFrame(schema=rollouts.problems.schema))
        with pytest.raises(StudyError, match="the problem set to train on is empty"):
            empty.check_prompts()
        few = dataclasses.replace(rollouts, problems_per_draw=4)
        with pytest.raises(StudyError, match="cannot draw a batch of 4 rows from 3"):
            few.draw(0, "step-1")
