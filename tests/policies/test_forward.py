import numpy as np
import pytest
import torch

from tiny_models import VOCABULARY, tiny_model
from tokenshift.policies.forward import Batch, Sequences, SplitModel, plan, response_hidden_states

ARCHITECTURES = ["Qwen2", "Llama", "Gemma2", "Gemma3", "Cohere", "Granite", "Phi", "GPT2", "OPT"]


def sequences(lengths: list[int], prompts: list[int], seed: int = 0) -> Sequences:
    """Random tokens; `prompts` says which rows have the same prompt."""
    random = np.random.default_rng(seed)
    given = {number: random.integers(2, VOCABULARY, random.integers(2, 7)).tolist() for number in sorted({*prompts})}
    responses = [random.integers(2, VOCABULARY, length).tolist() for length in lengths]
    return Sequences([given[number] for number in prompts], responses)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_is_the_models_own_in_every_architecture(architecture):
    """Tied and untied heads, with bias (Phi), logit scaling (Cohere, Granite) and soft-capping (Gemma)."""
    model = tiny_model(architecture, 0).double()
    tokens = torch.randint(2, VOCABULARY, (1, 12))
    with torch.inference_mode():
        expected = model(tokens).logits[0, 3:11]
        given = Sequences([tokens[0, :4].tolist()], [tokens[0, 4:].tolist()])
        split = SplitModel(model)
        hidden = response_hidden_states(split, given, Batch([0], False))
        found = torch.cat([split.logits(hidden[:5]), split.logits(hidden[5:])])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model(tokens).logits[0, 3:11], expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_computed_once_gives_the_same_states(architecture):
    model = SplitModel(tiny_model(architecture, 0).double())
    given = sequences([5, 1, 9, 7], prompts=[0, 0, 0, 0])
    with torch.inference_mode():
        apart, shared = (response_hidden_states(model, given, Batch([0, 1, 2, 3], share)) for share in (False, True))
    torch.testing.assert_close(shared, apart)


def test_responses_of_one_token_come_from_the_shared_prompt_alone():
    model = SplitModel(tiny_model("Qwen2", 0).double())
    given = sequences([1, 1], prompts=[0, 0])
    with torch.inference_mode():
        apart, shared = (response_hidden_states(model, given, Batch([0, 1], share)) for share in (False, True))
    torch.testing.assert_close(shared, apart)


def test_every_row_with_a_response_is_in_one_batch_within_the_budget():
    given = sequences([5, 0, 9, 7, 3, 8, 1], prompts=[0, 0, 0, 1, 1, 2, 2])
    batches = plan(given, batch_tokens=40)
    assert sorted(row for batch in batches for row in batch.rows) == [0, 2, 3, 4, 5, 6]
    for batch in batches:
        longest = max(given.length(row) for row in batch.rows)
        assert len(batch.rows) == 1 or len(batch.rows) * longest <= 40
        assert not batch.shared or len({tuple(given.prompts[row]) for row in batch.rows}) == 1


def test_a_prompt_is_shared_only_where_it_pays():
    long_prompt, short_prompt = [2] * 30, [2, 3]
    responses = [[4] * 20] * 8
    assert all(batch.shared for batch in plan(Sequences([long_prompt] * 8, responses), 400))
    assert not any(batch.shared for batch in plan(Sequences([short_prompt] * 8, responses), 400))  # saves little
    assert not any(batch.shared for batch in plan(Sequences([long_prompt] * 8, responses), 10_000))  # fills little


def test_a_wrapped_forward_is_not_called_for_the_head():
    """Where the parts of a model lie on several devices, their forwards are wrapped on the instances."""
    model = tiny_model("Qwen2", 0)
    split = SplitModel(model)
    with torch.inference_mode():
        hidden = split.hidden_states(input_ids=torch.tensor([[3, 4]]))[0]
        expected = split.logits(hidden)
        own, calls = model.forward, []
        model.forward = lambda *args, **kwargs: (calls.append(1), own(*args, **kwargs))[1]
        again = SplitModel(model)
        again.hidden_states(input_ids=torch.tensor([[3, 4]]))
        assert torch.equal(again.logits(hidden), expected)
    assert not calls


def test_a_split_model_shares_its_parameters_and_is_left_as_it_is():
    model = tiny_model("Qwen2", 0)
    decoder, names = model.model, [name for name, _ in model.named_parameters()]
    split = SplitModel(model)
    assert model.model is decoder
    assert [name for name, _ in model.named_parameters()] == names
    assert split._head_model.lm_head is model.lm_head
