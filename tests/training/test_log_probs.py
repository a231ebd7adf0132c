import pytest
import torch
from scipy.stats import entropy

from tiny_models import tiny_model, tiny_policy
from tokenshift.training import log_probs as module
from tokenshift.training.batches import Padded, pad
from tokenshift.training.log_probs import TokenModel, at_targets

SEQUENCES, FIRSTS = [[3, 4, 5, 6, 7, 1], [8, 9, 1], [2, 3, 4, 5]], [3, 1, 2]


def batch() -> Padded:
    return pad(SEQUENCES, FIRSTS, torch.device("cpu"))


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Gemma2", "Gemma3", "Cohere", "Granite", "GPT2", "OPT"])
def test_each_target_has_its_log_probability_and_entropy_whatever_the_padding(architecture, monkeypatch):
    model = tiny_model(architecture, 0).double()
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * model.config.vocab_size * 4)  # four targets at a time
    together, entropy_together = TokenModel(model)(batch(), 0.7, with_entropies=True)
    for row, (sequence, first) in enumerate(zip(SEQUENCES, FIRSTS, strict=True)):
        scaled = model(torch.tensor([sequence])).logits[0, first - 1 : -1] / 0.7
        alone = scaled.log_softmax(-1)[range(len(sequence) - first), sequence[first:]]
        mask = batch().mask[row]
        torch.testing.assert_close(together[row][mask], alone)
        expected = entropy(scaled.detach().softmax(-1).numpy(), axis=-1)
        torch.testing.assert_close(entropy_together[row][mask].detach(), torch.tensor(expected))
        assert (together[row][~mask] == 0).all()


def test_chunks_change_neither_value_nor_gradient(monkeypatch):
    model = tiny_policy(0).model
    expected = torch.log_softmax(model(batch().tokens[:, :-1]).logits, -1)
    expected = expected.gather(-1, batch().tokens[:, 1:, None]).squeeze(-1)
    expected.masked_fill(~batch().mask, 0.0).square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * model.config.vocab_size * 2)
    TokenModel(model)(batch())[0].square().sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_no_logits_are_kept_for_the_backward_pass(monkeypatch):
    model = tiny_policy(0).model
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * model.config.vocab_size * 2)
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        TokenModel(model)(batch())
    widths = {shape[-1] for shape in kept if len(shape) > 1 and shape != model.lm_head.weight.T.shape}
    assert model.config.vocab_size not in widths


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_derivatives_are_those_of_finite_differences(temperature):
    torch.manual_seed(0)
    logits = (3 * torch.randn(4, 9, dtype=torch.float64)).requires_grad_()
    tokens = torch.randint(9, (4,))
    assert torch.autograd.gradcheck(lambda block: at_targets(block, tokens, temperature, True), logits)
    assert torch.autograd.gradcheck(lambda block: at_targets(block, tokens, temperature, False)[0], logits)
    assert torch.autograd.gradcheck(lambda block: at_targets(block, tokens, temperature, True)[1], logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_derivatives_in_half_precision_and_of_impossible_tokens(dtype):
    torch.manual_seed(0)
    block = (3 * torch.randn(6, 300)).to(dtype)
    block[:, 7] = -torch.inf
    tokens, weights = torch.randint(8, 300, (6,)), torch.randn(2, 6)
    found, exact = block.clone().requires_grad_(), block.double().requires_grad_()
    for logits in (found, exact):
        both = at_targets(logits, tokens, 1.3, True)
        (weights[0] @ both[0].to(weights.dtype) + weights[1] @ both[1].to(weights.dtype)).backward()
    torch.testing.assert_close(
        found.grad.double(), exact.grad, atol=1e-5, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4
    )


def test_a_batch_without_targets_has_a_gradient_of_zero():
    model = tiny_policy(0).model
    empty = Padded(batch().tokens, 1, torch.zeros_like(batch().mask))
    TokenModel(model)(empty)[0].sum().backward()
    assert all((parameter.grad == 0).all() for parameter in model.parameters() if parameter.grad is not None)
