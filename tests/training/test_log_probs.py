import pytest
import torch
from scipy.stats import entropy

from tiny_models import tiny_policy
from tokenshift.training import log_probs as module
from tokenshift.training.batches import pad
from tokenshift.training.log_probs import entropies, log_probs, target_logits

CPU = torch.device("cpu")


def test_padding_changes_no_log_probability():
    model = tiny_policy(0).model
    sequences, firsts = [[3, 4, 5, 6, 7, 1], [8, 9, 1], [2, 3, 4, 5]], [3, 1, 2]
    batch = pad(sequences, firsts, CPU)
    together = log_probs(target_logits(model, batch), batch.targets, temperature=0.7)
    for row, (sequence, first) in enumerate(zip(sequences, firsts, strict=True)):
        scaled = model(torch.tensor([sequence])).logits[0] / 0.7
        alone = scaled.log_softmax(-1)[range(len(sequence) - 1), sequence[1:]]
        torch.testing.assert_close(together[row][batch.mask[row]], alone[first - 1 :].float(), rtol=1e-5, atol=1e-5)


def test_entropies_are_scipys():
    logits = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(0)) * 4
    expected = entropy((logits.double() / 1.5).softmax(-1).numpy(), axis=-1)
    torch.testing.assert_close(entropies(logits, 1.5).double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "function", [lambda logits, tokens: log_probs(logits, tokens), lambda logits, _: entropies(logits)]
)
def test_chunks_change_neither_value_nor_gradient(function, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, 9, generator=generator, requires_grad=True)
    tokens = torch.randint(9, (5, 4), generator=generator)
    whole = function(logits, tokens)
    (gradient,) = torch.autograd.grad(whole.square().sum(), logits)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 4 * 9 * 2)
    chunked = function(logits, tokens)
    (chunked_gradient,) = torch.autograd.grad(chunked.square().sum(), logits)
    assert torch.equal(whole, chunked)
    assert torch.equal(gradient, chunked_gradient)
