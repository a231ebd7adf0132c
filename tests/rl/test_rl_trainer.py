"""The trainer against the objective written out: one response at a time, plain autograd, no micro-batches."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from tiny_rl import SMALL, TOKENIZER, guesser, random_groups, rollouts_of, settings, train_guesser
from tiny_training import file_bytes, start, tiny_model
from tokenshift.config.models import Rl
from tokenshift.errors import StudyError
from tokenshift.problems.grading import Grader
from tokenshift.rl.rollout_batches import Group
from tokenshift.rl.trainer import Trainer, shaped_rewards

WEIGHT = {"divergence": {"alpha": 20.0}}


def written_out(groups: list[Group], rl: Rl) -> torch.nn.Module:
    """Model after the update of `groups`: every formula of the objective spelled out, response by response."""
    model = tiny_model()
    initial = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rl.learning_rate, weight_decay=rl.weight_decay)

    def distributions(policy, prompt, response):
        logits = policy(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        return (logits / rl.temperature).log_softmax(-1)  # (T, V)

    def taken(policy, prompt, response):
        return distributions(policy, prompt, response)[range(len(response)), response]

    def entropy(policy, prompt, response):
        logp = distributions(policy, prompt, response)
        return -(logp.exp() * logp).sum(-1)

    old = copy.deepcopy(model)
    for first in list(range(0, len(groups), rl.mini_batch_prompts)) * rl.epochs:
        losses = []
        mini_batch = groups[first : first + rl.mini_batch_prompts]
        entropies = [
            entropy(old, group.prompt, response).detach() for group in mini_batch for response in group.responses
        ]
        threshold = torch.quantile(torch.cat(entropies), 0.7)
        for group in mini_batch:
            rewards = []
            for response, correct in zip(group.responses, group.correct, strict=True):
                reward = rl.reward_correct if correct else rl.reward_wrong
                if rl.overlong:
                    over = len(response) - (rl.max_new_tokens - rl.overlong.buffer)
                    reward -= rl.overlong.factor * max(0, over) / rl.overlong.buffer
                rewards.append(reward)
            mean, std = np.mean(rewards), np.std(rewards, ddof=1)
            for response, reward in zip(group.responses, rewards, strict=True):
                logp = taken(model, group.prompt, response)
                old_logp = taken(old, group.prompt, response).detach()
                ratio = (logp - old_logp).exp()
                advantage = (reward - mean) * torch.ones(len(response))
                if rl.scale_advantages:
                    advantage = advantage / (std + 1e-6)
                if rl.weight and rl.weight.divergence:
                    kl = ratio.detach() - 1 - ratio.detach().log()
                    advantage = advantage * (1 + 1.0 * (1 / (1 + (-20.0 * kl).exp()) - 0.5))
                if rl.weight and rl.weight.sibling:
                    advantage = advantage * (1 + 0.2 * (1 - old_logp.exp()))
                if rl.weight and rl.weight.top_entropy:
                    advantage = advantage * (entropy(old, group.prompt, response).detach() >= threshold)
                clipped = ratio.clamp(1 - rl.clip_low, 1 + rl.clip_high)
                loss = torch.maximum(-advantage * ratio, -advantage * clipped)
                if rl.dual_clip:
                    loss = torch.where(advantage < 0, torch.minimum(loss, -rl.dual_clip * advantage), loss)
                reference = taken(initial, group.prompt, response).detach()
                loss = loss + rl.kl_coefficient * ((reference - logp).exp() - (reference - logp) - 1)
                losses.append(loss - rl.entropy_bonus * entropy(model, group.prompt, response))
        whole = torch.cat(losses).mean()
        if rl.aggregation == "sequence_mean":
            whole = torch.stack([loss.mean() for loss in losses]).mean()
        if rl.aggregation == "fixed_length":
            whole = torch.cat(losses).sum() / (len(losses) * rl.max_new_tokens)
        optimiser.zero_grad()
        whole.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), rl.gradient_clip)
        optimiser.step()
    return model


def trainer(rl: Rl) -> Trainer:
    engine = start(tiny_model(), rl)
    return Trainer(engine, tiny_model().eval() if rl.kl_coefficient > 0 else None, rl)


@pytest.mark.parametrize("micro_batch_size", [3, 16])
@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("dapo", {"weight": WEIGHT, "zero_stage": 2}),
        ("grpo", {"kl_coefficient": 0.1, "aggregation": "sequence_mean", "overlong": None, "temperature": 0.8}),
        ("grpo", {"kl_coefficient": 0.1, "weight": WEIGHT, "gradient_checkpointing": True, "zero_stage": 1}),
        ("dr_grpo", {"weight": {"sibling": {"c": 0.2}}, "epochs": 2}),
        ("dapo", {"weight": {"top_entropy": {"share": 0.3}}, "zero_stage": 3, "gradient_checkpointing": True}),
    ],
)
def test_an_update_is_the_objective_written_out(recipe, overrides, micro_batch_size):
    rl = settings(recipe, micro_batch_size=micro_batch_size, **overrides)
    expected = written_out(random_groups(), rl)
    ours = trainer(rl)
    ours.update(random_groups())
    for (name, parameter), other in zip(
        ours.engine.module.model.named_parameters(), expected.parameters(), strict=True
    ):
        torch.testing.assert_close(parameter, other, rtol=1e-3, atol=2e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_the_first_mini_batch_has_ratio_and_weight_one():
    rl = settings("dapo", weight=WEIGHT, prompts_per_step=4, mini_batch_prompts=2)
    first_only = trainer(rl).update(random_groups()[:2])
    assert first_only["kl_old"] == first_only["kl_old_p90"] == first_only["weighted_share"] == 0
    assert (first_only["weight_min"], first_only["weight_max"]) == (1, 1)
    assert (first_only["clip_low"], first_only["clip_high"]) == (0, 0)
    both = trainer(rl).update(random_groups())
    assert both["kl_old"] > 0
    assert both["weight_min"] == 1
    assert 1 < both["weight_max"] < 1.5
    assert both["kl_old_p90"] > both["kl_old"] / 10
    assert (both["weighted_share"] > 0) == (both["weight_max"] > 1.05)


def test_groups_of_one_reward_do_not_move_the_policy():
    rl = settings("dapo", entropy_bonus=0.0, weight_decay=0.0, overlong=None)
    ours = trainer(rl)
    same = [Group(group.problem_id, group.prompt, group.responses, [False] * 4) for group in random_groups()]
    assert ours.update(same)["gradient_norm"] == 0
    for parameter, before in zip(ours.engine.module.parameters(), tiny_model().parameters(), strict=True):
        assert torch.equal(parameter, before)


def test_rewards_are_shaped_by_length():
    rl = settings("dapo", overlong={"buffer": 4, "factor": 0.5})
    groups = [Group("a", [2], [[2] * 6, [2] * 8, [2] * 10, [2]], [True, True, False, False])]
    assert shaped_rewards(groups, rl).tolist() == [[1.0, 0.75, -1.5, -1.0]]


@pytest.fixture(scope="module")
def model():
    return guesser()


def run(folder, model, rl: Rl) -> list[dict]:
    train_guesser(folder, model, rl)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_draw_is_keyed_by_its_number_and_purpose(model):
    with Grader() as grader:
        rollouts = rollouts_of(model, grader, settings("dapo", **SMALL))
        drawn = rollouts.draw(0, "step-1")
        assert drawn == rollouts.draw(0, "step-1")
        assert [group.prompt for group in drawn] == [group.prompt for group in rollouts.draw(0, "step-2")]
        assert drawn != rollouts.draw(0, "step-2")
        assert [group.prompt for group in drawn] != [group.prompt for group in rollouts.draw(1, "step-1")]
    texts = TOKENIZER.batch_decode([response for group in drawn for response in group.responses])
    assert [text.startswith("\\boxed{3}") for text in texts] == [right for group in drawn for right in group.correct]


@pytest.mark.parametrize(
    ("recipe", "zero_stage"),
    [("dapo", 0), ("grpo", 3)],
)
def test_training_raises_the_reward(tmp_path, model, recipe, zero_stage):
    rows = run(tmp_path / "run", model, settings(recipe, **SMALL, zero_stage=zero_stage))
    assert 0.2 < rows[0]["accuracy"] < 0.8
    assert rows[-1]["accuracy"] > rows[0]["accuracy"] + 0.2
    assert rows[0]["reward"] < rows[-1]["reward"]
    assert rows[0]["kl_base"] < rows[-1]["kl_base"]
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_a_run_repeats_to_the_byte_and_its_micro_batches_do_not_matter(tmp_path, model):
    rl = settings("dapo", **SMALL | {"steps": 3}, checkpoint_every=2, weight=WEIGHT)
    rows = run(tmp_path / "first", model, rl)
    run(tmp_path / "again", model, rl)
    assert file_bytes(tmp_path / "first") == file_bytes(tmp_path / "again")
    assert sorted(folder.name for folder in (tmp_path / "first/checkpoints").iterdir()) == [
        "step-000002",
        "step-000003",
    ]
    cut = run(tmp_path / "cut", model, rl.model_copy(update={"micro_batch_size": 2, "generation_batch_size": 3}))
    for row, other in zip(rows, cut, strict=True):
        assert row == pytest.approx(other, rel=1e-2, abs=1e-5)


def test_without_mixed_groups_the_step_is_skipped(tmp_path, model, capsys):
    rl = settings("dapo", **SMALL | {"steps": 1, "max_new_tokens": 3}, dynamic_sampling_draws=2)
    (row,) = run(tmp_path / "run", model, rl)
    assert (row["draws"], row["groups"], row["accuracy"], row["filtered_groups"]) == (2, 0, 0, 1)
    assert "gradient_norm" not in row
    assert "the step is skipped" in capsys.readouterr().err
    assert math.isclose(row["reward"], -1)


def test_prompts_beyond_the_context_are_refused_before_training(tmp_path, model):
    with pytest.raises(StudyError, match="longer than the model's context of 64"):
        run(tmp_path / "run", model, settings("dapo", **SMALL | {"max_new_tokens": 63}))
