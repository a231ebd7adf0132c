import pytest
import torch
from safetensors.torch import load_file

from tiny_training import EOS, OPTIMISATION, start, tiny_model, weights
from tokenshift.policies.models import load_model
from tokenshift.training.batches import Padded, pad
from tokenshift.training.engine import NonFiniteLoss, gathered, optimiser_step
from tokenshift.training.outputs import export
from tokenshift.training.pretraining import character_tokenizer
from tokenshift.training.supervised import negative_log_likelihood

SEQUENCES = [[2, 5, 7, 3, EOS], [4, 4, 8, EOS], [9, 10, 2, 6, 12, 11, EOS], [3, EOS]]
TARGETS = sum(map(len, SEQUENCES)) - len(SEQUENCES)


def step(engine, size: int) -> tuple[float, float]:
    parts = [
        pad(SEQUENCES[i : i + size], [1] * len(SEQUENCES[i : i + size]), engine.device)
        for i in range(0, len(SEQUENCES), size)
    ]
    return optimiser_step(engine, parts, lambda part: negative_log_likelihood(engine, part, TARGETS))


def plain_torch_steps(steps: int) -> tuple[dict, list[float], list[float]]:
    """The same training without DeepSpeed or micro-batches: weights, losses, gradient norms."""
    model = tiny_model()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=OPTIMISATION.learning_rate, weight_decay=OPTIMISATION.weight_decay
    )
    losses, norms = [], []
    for _ in range(steps):
        logp = [model(torch.tensor([s])).logits[0].log_softmax(-1)[range(len(s) - 1), s[1:]] for s in SEQUENCES]
        loss = -torch.cat(logp).mean()
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMISATION.gradient_clip).item())
        optimiser.step()
        losses.append(loss.item())
    return dict(model.named_parameters()), losses, norms


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 4])
def test_steps_are_those_of_plain_torch_whatever_the_stage_and_micro_batch(zero_stage, size):
    expected, losses, norms = plain_torch_steps(3)
    engine = start(tiny_model(), zero_stage=zero_stage)
    taken = [step(engine, size) for _ in range(3)]
    assert [loss for loss, _ in taken] == pytest.approx(losses, rel=1e-4)
    assert [norm for _, norm in taken] == pytest.approx(norms, rel=1e-3)
    assert min(norms) > OPTIMISATION.gradient_clip  # so that clipping is tested too
    with gathered(engine):
        for name, parameter in engine.module.model.named_parameters():
            torch.testing.assert_close(parameter, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_in_bfloat16_every_stage_takes_the_steps_of_plain_torch_but_for_rounding(zero_stage):
    _, losses, norms = plain_torch_steps(3)
    engine = start(tiny_model(), zero_stage=zero_stage, precision="bfloat16")
    taken = [step(engine, 4) for _ in range(3)]
    assert [loss for loss, _ in taken] == pytest.approx(losses, rel=0.01)
    assert [norm for _, norm in taken] == pytest.approx(norms, rel=0.03)


@pytest.mark.parametrize(
    ("zero_stage", "precision"),
    [*((stage, "float32") for stage in range(4)), *((stage, "bfloat16") for stage in (0, 2))],
)
def test_a_gradient_that_is_not_finite_changes_no_weight_and_is_an_error(zero_stage, precision):
    engine = start(tiny_model(), zero_stage=zero_stage, precision=precision)
    batch = pad(SEQUENCES, [1] * len(SEQUENCES), engine.device)

    def finite_with_an_infinite_slope(part: Padded) -> torch.Tensor:
        return 1 + (0 * engine(part)[0].sum()).sqrt()

    with gathered(engine):
        before = weights(engine.module)
    with pytest.raises(NonFiniteLoss, match=r"norm of the gradient is (nan|inf), of a loss of 1") as raised:
        optimiser_step(engine, [batch], finite_with_an_infinite_slope)
    assert raised.value.micro_batches == [batch]
    with gathered(engine):
        assert all(torch.equal(value, before[name]) for name, value in weights(engine.module).items())


@pytest.mark.parametrize(
    ("zero_stage", "precision"), [(0, "float32"), (2, "float32"), (3, "float32"), (0, "bfloat16"), (1, "bfloat16")]
)
def test_an_exported_model_has_the_engines_logits(tmp_path, zero_stage, precision):
    engine = start(tiny_model(), zero_stage=zero_stage, precision=precision)
    step(engine, 2)
    export(engine, character_tokenizer(["abcdefghijk"]), tmp_path, "a card")
    tokens = torch.tensor([SEQUENCES[0]])
    loaded = load_model(tmp_path, precision, "cpu")
    with gathered(engine), torch.no_grad():
        assert torch.equal(loaded(tokens).logits, engine.module.model(tokens).logits)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert not torch.equal(loaded.lm_head.weight.float(), tiny_model().lm_head.weight)
    assert {file.name for file in tmp_path.iterdir()} >= {"model.safetensors", "config.json", "tokenizer.json"}
