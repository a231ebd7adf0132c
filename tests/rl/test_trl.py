"""The objective against TRL's GRPOTrainer, number for number in float64."""

import copy
import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

import processes
from tiny_rl import TOKENIZER
from tiny_training import tiny_model
from tokenshift.config.models import Rl
from tokenshift.rl.advantages import group_advantages
from tokenshift.rl.losses import token_weights
from tokenshift.rl.objective import Sampled, objective
from tokenshift.rl.weights import Tokens, advantage_weights, entropy_ranks
from tokenshift.training.batches import pad
from tokenshift.training.log_probs import TokenModel

trl = pytest.importorskip("trl", reason="needs trl, as an oracle of the RL losses (pip install '.[test]')")

GROUPS, SAMPLES, LENGTH = 3, 4, 11
AGGREGATIONS = {"dapo": "token_mean", "bnpo": "token_mean", "grpo": "sequence_mean", "dr_grpo": "fixed_length"}
WEIGHTS = [
    None,
    {"divergence": {"alpha": 20.0}},
    {"divergence": {"alpha": -5.0, "strength": 1.5, "direction": "new_old"}},
    {"sibling": {"c": 0.2}},
    {"top_entropy": {"share": 0.2}},
]


def settings(**given) -> Rl:
    sizes = {"problems": "train", "steps": 1, "prompts_per_step": 2, "mini_batch_prompts": 1, "max_new_tokens": LENGTH}
    return Rl(recipe="grpo", **(sizes | {"kl_coefficient": 0.0, "entropy_bonus": 0.0} | given))


def batch() -> dict[str, torch.Tensor]:
    """Log-probabilities of responses of unequal lengths, with ratios far beyond every clip, and their rewards."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, LENGTH + 1, (GROUPS * SAMPLES, 1), generator=generator)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    old = -normal(GROUPS * SAMPLES, LENGTH).abs()
    return {
        "mask": torch.arange(LENGTH) < lengths,
        "old_logp": old,
        "logp": old + normal(*old.shape),
        "base_logp": old + normal(*old.shape) / 2,
        "entropy": normal(*old.shape).abs(),
        "rewards": normal(GROUPS, SAMPLES),
    }


def trls_loss(given: dict, rl: Rl, loss_type: str, advantages: torch.Tensor, top_entropy: float = 1.0):
    """Loss and gradient with respect to the log-probabilities, by TRL's own code on a trainer without a model."""
    logp = given["logp"].clone().requires_grad_()
    alone = SimpleNamespace(
        num_processes=1,
        gather=lambda values: values,
        reduce=lambda values, reduction: values,
        pad_across_processes=lambda values, **_: values,
    )
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, given["entropy"], None),
        _entropy_bonus_enabled=rl.entropy_bonus > 0,
        _metrics={"train": defaultdict(list)},
        accelerator=alone,
        args=SimpleNamespace(delta=rl.dual_clip, steps_per_generation=1, use_bias_correction_kl=False),
        aux_loss_enabled=False,
        beta=rl.kl_coefficient,
        current_gradient_accumulation_steps=1,
        entropy_coef=rl.entropy_bonus,
        epsilon_high=rl.clip_high,
        epsilon_low=rl.clip_low,
        importance_sampling_level="token",
        loss_type=loss_type,
        max_completion_length=LENGTH,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=top_entropy,
        use_adaptive_entropy=False,
        use_vllm=False,
    )
    trainer.get_high_entropy_mask = lambda *args: trl.GRPOTrainer.get_high_entropy_mask(trainer, *args)
    trainer.accelerator.sync_gradients = False
    nothing = torch.zeros(len(logp), 0, dtype=torch.long)
    mask = given["mask"].double()
    inputs = {
        "prompt_ids": nothing,
        "prompt_mask": nothing,
        "completion_ids": torch.zeros(logp.shape, dtype=torch.long),
        "completion_mask": mask,
        "old_per_token_logps": given["old_logp"],
        "ref_per_token_logps": given["base_logp"],
        "advantages": advantages,
        "num_items_in_batch": mask.sum(),
    }
    loss = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.detach(), logp.grad, {name: values[0] for name, values in trainer._metrics["train"].items()}


def our_loss(given: dict, rl: Rl, advantages: torch.Tensor):
    mask = given["mask"]
    logp = given["logp"].clone().requires_grad_()
    sampled = Sampled(
        mask=mask,
        advantages=advantages,
        token_weights=token_weights(mask, rl.aggregation, int(mask.sum()), len(mask), rl.max_new_tokens),
        old_logp=given["old_logp"],
        old_entropy=given["entropy"],
        entropy_rank=entropy_ranks(given["entropy"], given["entropy"][mask]),
        initial_logp=given["base_logp"] if rl.kl_coefficient > 0 else None,
    )
    loss, seen = objective(logp, given["entropy"], sampled, rl)
    loss.backward()
    return loss.detach(), logp.grad, {name: values[mask].mean().item() for name, values in seen.items()}


@pytest.mark.parametrize("weight", WEIGHTS, ids=["plain", "divergence", "new_old", "sibling", "top_entropy"])
@pytest.mark.parametrize("kl_coefficient", [0.0, 0.1])
@pytest.mark.parametrize("dual_clip", [None, 3.0, 10.0])
@pytest.mark.parametrize("loss_type", AGGREGATIONS)
def test_losses_and_gradients_are_trls(loss_type, dual_clip, kl_coefficient, weight):
    rl = settings(
        aggregation=AGGREGATIONS[loss_type],
        clip_high=0.28,
        dual_clip=dual_clip,
        kl_coefficient=kl_coefficient,
        weight=weight,
    )
    given = batch()
    advantages = group_advantages(given["rewards"], scale=True).flatten()
    facts = Tokens(
        given["logp"] - given["old_logp"],
        given["old_logp"],
        entropy_ranks(given["entropy"], given["entropy"][given["mask"]]),
    )
    weights = advantage_weights(facts, rl.weight)
    weighted = advantages if weights is None else advantages[:, None] * weights  # TRL takes (B,) and (B, T)
    expected, gradient, metrics = trls_loss(given, rl, loss_type, weighted)
    loss, our_gradient, seen = our_loss(given, rl, advantages[:, None])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(our_gradient, gradient, rtol=1e-12, atol=1e-15)
    if weight is None and dual_clip is None:
        assert seen["clip_low"] == pytest.approx(metrics["clip_ratio/low_mean"], rel=1e-12)
        assert seen["clip_high"] == pytest.approx(metrics["clip_ratio/high_mean"], rel=1e-12)
        assert seen["entropy"] == pytest.approx(metrics["entropy"], rel=1e-12)
    if kl_coefficient:
        assert seen["kl_base"] == pytest.approx(metrics["kl"], rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_selected_tokens_are_trls(share):
    rl = settings(weight={"top_entropy": {"share": share}}, aggregation="token_mean")
    given = batch()
    given["entropy"] = given["entropy"].float().double()  # TRL compares in float32
    advantages = group_advantages(given["rewards"], scale=True).flatten()
    expected, gradient, _ = trls_loss(given, rl, "dapo", advantages, top_entropy=share)
    loss, our_gradient, _ = our_loss(given, rl, advantages[:, None])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.equal(our_gradient != 0, gradient != 0)


def test_the_entropy_bonus_is_trls():
    rl = settings(entropy_bonus=0.01, aggregation="token_mean")
    given = batch()
    advantages = group_advantages(given["rewards"], scale=False).flatten()
    expected, _, _ = trls_loss(given, rl, "dapo", advantages)
    assert our_loss(given, rl, advantages[:, None])[0].item() == pytest.approx(expected.item(), rel=1e-12)


def trls_first_step(folder: str) -> None:
    """Save inputs, rewards, loss and weights of the first step of a whole TRL run with left-padded prompts."""
    from datasets import Dataset

    seen = []

    class Recording(trl.GRPOTrainer):
        def _compute_loss(self, model, inputs):
            before = copy.deepcopy(self.model.state_dict())
            loss = super()._compute_loss(model, inputs)
            seen.append((inputs, loss.detach(), before))
            return loss

    def reward(completion_ids, **_):
        return [float(len(set(ids)) % 3) for ids in completion_ids]

    model = tiny_model(len(TOKENIZER)).double()
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):  # left by tests of launchers
        os.environ.pop(name, None)
    config = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=12,
        max_steps=1,
        loss_type="dapo",
        beta=0.0,
        epsilon_high=0.28,
        learning_rate=1e-6,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=1,
    )
    data = Dataset.from_dict({"prompt": ["3?", "12345?"]})
    Recording(
        model=model, reward_funcs=reward, args=config, train_dataset=data, processing_class=copy.deepcopy(TOKENIZER)
    ).train()
    inputs, loss, before = seen[0]
    # TRL shuffles the responses: those of one prompt together again.
    order = inputs["prompt_mask"].sum(1).argsort(stable=True)
    inputs = {name: values[order] for name, values in inputs.items() if torch.is_tensor(values) and values.dim()}
    rewards = torch.tensor(reward(unpadded(inputs, "completion")), dtype=torch.float64)
    torch.save((inputs, rewards, loss, before), f"{folder}/step.pt")


def unpadded(inputs: dict, part: str) -> list[list[int]]:
    return [ids[mask.bool()].tolist() for ids, mask in zip(inputs[f"{part}_ids"], inputs[f"{part}_mask"], strict=True)]


def test_a_whole_trl_step_has_our_advantages_log_probabilities_and_loss(tmp_path):
    # In a process of its own: TRL sets up state that all later users of torch.distributed would find.
    processes.run(1, tmp_path / "log", trls_first_step, str(tmp_path))
    inputs, rewards, expected, weights = torch.load(tmp_path / "step.pt")
    model = tiny_model(len(TOKENIZER)).double()
    model.load_state_dict(weights)
    ours = group_advantages(rewards.view(-1, 4), scale=True, epsilon=1e-4).flatten()
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(inputs["advantages"].double(), ours, rtol=1e-5, atol=1e-5)
    prompts, responses = unpadded(inputs, "prompt"), unpadded(inputs, "completion")
    assert len({len(prompt) for prompt in prompts}) == 2
    batch = pad([p + r for p, r in zip(prompts, responses, strict=True)], [len(p) for p in prompts], model.device)
    logp, entropy = TokenModel(model)(batch, with_entropies=True)
    mask, advantages = batch.mask, inputs["advantages"].double()[:, None]
    shares = token_weights(mask, "token_mean", int(mask.sum()), len(prompts), 12)
    sampled = Sampled(mask, advantages, shares, logp.detach(), entropy.detach(), torch.zeros_like(logp), None)
    loss, _ = objective(logp, None, sampled, settings(clip_high=0.28))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)
