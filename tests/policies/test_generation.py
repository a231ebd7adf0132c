import numpy as np
import pytest
import torch

from tiny_models import STOP, VOCABULARY, tiny_policy
from tokenshift.distributions.sampling import Sampling, draw
from tokenshift.noise import uniforms
from tokenshift.policies.generation import Cancelled, generate

pytestmark = pytest.mark.usefixtures("passes")

SAMPLING = Sampling(1.0, 0.9, 24)


def prompts_and_noise(rows: int) -> tuple[list[list[int]], np.ndarray]:
    random = np.random.default_rng(0)
    prompts = [random.integers(2, VOCABULARY, random.integers(3, 9)).tolist() for _ in range(rows)]
    return prompts, uniforms(0, "token", [str(row) for row in range(rows)], [0] * rows, SAMPLING.max_new_tokens)


def from_scratch(policy, prompt: list[int], noise: np.ndarray) -> list[int]:
    """One response by running the whole prefix again for every token, without padding or cache."""
    response: list[int] = []
    while len(response) < SAMPLING.max_new_tokens and STOP not in response:
        with torch.inference_mode():
            logits = policy.model(torch.tensor([prompt + response])).logits[:, -1, :VOCABULARY]
        response.append(int(draw(logits, torch.tensor([noise[len(response)]]), SAMPLING)))
    return response


def test_equals_decoding_from_scratch():
    policy = tiny_policy(0)
    prompts, noise = prompts_and_noise(40)
    responses = generate(policy, prompts, noise, SAMPLING, batch_size=16)
    assert responses == [from_scratch(policy, prompt, row) for prompt, row in zip(prompts, noise, strict=True)]
    assert any(response[-1] == STOP for response in responses)
    assert any(len(response) == SAMPLING.max_new_tokens for response in responses)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_does_not_depend_on_batch_size_or_order(batch_size):
    policy = tiny_policy(1)
    prompts, noise = prompts_and_noise(50)
    reference = generate(policy, prompts, noise, SAMPLING, batch_size=50)
    order = np.random.default_rng(1).permutation(50)
    shuffled = generate(policy, [prompts[row] for row in order], noise[order], SAMPLING, batch_size=batch_size)
    assert shuffled == [reference[row] for row in order]


def test_leaves_the_model_in_its_mode():
    policy = tiny_policy(2)
    prompts, noise = prompts_and_noise(2)
    policy.model.train()
    generate(policy, prompts, noise, SAMPLING, batch_size=2)
    assert policy.model.training
    with pytest.raises(Cancelled):
        generate(policy, prompts, noise, SAMPLING, 2, cancelled=lambda: True)
    assert policy.model.training
