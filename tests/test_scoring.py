import copy
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from naive_scoring import naive_row
from tiny_models import VOCABULARY, mixed, tiny_model, tiny_policy
from tokenshift.comparison import Settings
from tokenshift.errors import StudyError
from tokenshift.generation import Policy
from tokenshift.models import load_model, load_tokenizer
from tokenshift.schemas import SCORES
from tokenshift.scoring import _own_head, _response_hidden_states, score

SETTINGS = Settings(temperature=0.8, top_p=0.7, top_k=6)


def rollouts(lengths: list[int], seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "problem_id": [f"p{row // 2}" for row in range(len(lengths))],
            "sample": [row % 2 for row in range(len(lengths))],
            "prompt_token_ids": [random.integers(2, VOCABULARY, random.integers(2, 7)).tolist() for _ in lengths],
            "response_token_ids": [random.integers(2, VOCABULARY, length).tolist() for length in lengths],
        },
        schema_overrides={"response_token_ids": pl.List(pl.Int64)},
    )


@pytest.fixture(scope="module")
def pair():
    base = tiny_policy(0)
    return base, mixed(base, tiny_policy(1), 0.3)


def expected_rows(pair, given: pl.DataFrame) -> list[dict]:
    """Naive scores of `given`, from float64 copies of both models."""
    exact = [copy.deepcopy(policy.model).double() for policy in pair]
    size = min(policy.vocabulary_size for policy in pair)
    rows = []
    for problem, sample, prompt, response in given.iter_rows():
        with torch.inference_mode():
            blocks = [model(torch.tensor([prompt + response])).logits[0, :, :size].numpy() for model in exact]
        for position, token in enumerate(response):
            logits = [block[len(prompt) - 1 + position] for block in blocks]
            key = {"problem_id": problem, "sample": sample, "position": position}
            rows.append(key | naive_row(logits, token, SETTINGS))
    return rows


def assert_scores(table: pl.DataFrame, expected: list[dict], tolerance: float) -> None:
    """Every column of `table` against the naive scores: integers equal, the rest within `tolerance`."""
    assert set(expected[0]) == set(SCORES.names)
    for column in SCORES.names:
        values = [row[column] for row in expected]
        if table[column].dtype in (pl.String, pl.Int32, pl.List(pl.Int32)):
            assert table[column].to_list() == values, column
        else:
            found = np.array(table[column].to_list())
            np.testing.assert_allclose(found, np.array(values), rtol=tolerance, atol=tolerance, err_msg=column)


def test_every_column_against_its_definition(pair):
    given = rollouts([5, 1, 9, 7])
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=30, chunk_positions=4))
    assert_scores(table, expected_rows(pair, given), 1e-6)


@pytest.mark.parametrize("architecture", ["Qwen2", "Llama", "Gemma2", "Gemma3", "Phi"])
def test_every_column_in_single_precision(architecture):
    pair = [Policy(tiny_model(architecture, seed), (), VOCABULARY) for seed in (0, 1)]
    given = rollouts([5, 1, 9, 7])
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=30, chunk_positions=4))
    assert_scores(table, expected_rows(pair, given), 1e-5)


@pytest.mark.parametrize("architecture", ["Qwen2", "Llama", "Gemma2", "Gemma3", "Phi"])
def test_js_in_half_precision_follows_from_the_models_own_logits(architecture):
    """Against the logits as the models give them in bfloat16: the statistics add no error of that precision."""
    pair = [Policy(tiny_model(architecture, seed).bfloat16(), (), VOCABULARY) for seed in (0, 1)]
    given = rollouts([12])
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=30, chunk_positions=64))
    (prompt,), (response,) = given["prompt_token_ids"].to_list(), given["response_token_ids"].to_list()
    with torch.inference_mode():
        blocks = [policy.model(torch.tensor([prompt + response])).logits[0].double().numpy() for policy in pair]
    start = len(prompt) - 1
    expected = [
        naive_row([block[start + position, :VOCABULARY] for block in blocks], token, SETTINGS)["js"]
        for position, token in enumerate(response)
    ]
    np.testing.assert_allclose(table["js"], expected, atol=1e-3)


@pytest.mark.parametrize(("batch_tokens", "chunk_positions"), [(1, 16), (10_000, 1024), (40, 1)])
def test_does_not_depend_on_batches_or_chunks(pair, batch_tokens, chunk_positions):
    given = rollouts([5, 1, 9, 7, 3, 8])
    reference = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=30, chunk_positions=4))
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens, chunk_positions))
    for column in SCORES.names:
        if table[column].dtype == pl.Float32:
            np.testing.assert_allclose(table[column], reference[column], atol=1e-6)
        elif column not in ("top_logps_base", "top_logps_tuned"):
            assert table[column].equals(reference[column])


def test_empty_responses_are_no_rows(pair):
    assert len(score(*pair, rollouts([0, 4, 0]), SETTINGS, batch_tokens=1000, chunk_positions=64)) == 4
    assert score(*pair, rollouts([0]), SETTINGS, batch_tokens=1000, chunk_positions=64).schema == SCORES


def test_refuses_what_does_not_fit(pair):
    with pytest.raises(StudyError, match=r"problem p0, sample 1: .*context is 128"):
        score(*pair, rollouts([4, 200]), SETTINGS, batch_tokens=1000, chunk_positions=64)
    stray = rollouts([3]).with_columns(response_token_ids=pl.Series([[2, VOCABULARY, 3]]))
    with pytest.raises(StudyError, match=rf"token id {VOCABULARY} lies outside"):
        score(*pair, stray, SETTINGS, batch_tokens=1000, chunk_positions=64)


def test_logits_that_are_not_finite_are_located(pair):
    base, _ = pair
    broken = tiny_policy(3)
    broken.model.model.embed_tokens.weight.data[7] = torch.nan  # attention spreads it over its whole row
    given = pl.DataFrame(
        {
            "problem_id": ["a", "b"],
            "sample": [0, 0],
            "prompt_token_ids": [[2, 3], [2, 3]],
            "response_token_ids": [[4, 5, 6], [4, 7, 5]],
        }
    )
    with pytest.raises(StudyError, match="tuned model's logits are not finite at problem b, sample 0, position 0"):
        score(base, broken, given, SETTINGS, batch_tokens=1000, chunk_positions=64)


@pytest.mark.parametrize(
    "architecture", ["Qwen2", "Llama", "Gemma2", "Gemma3", "Cohere", "Granite", "Phi", "GPT2", "OPT"]
)
def test_the_head_is_the_models_own_in_every_architecture(architecture):
    """Tied and untied heads, with bias (Phi), logit scaling (Cohere, Granite) and soft-capping (Gemma)."""
    model = tiny_model(architecture, 0).double()
    tokens = torch.randint(2, VOCABULARY, (1, 12))
    with torch.inference_mode():
        expected = model(tokens).logits[0, 3:11]
        hidden = _response_hidden_states(model, tokens.tolist(), [8])
        with _own_head(model) as head:
            found = torch.cat([head(hidden[:5]), head(hidden[5:])])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model(tokens).logits[0, 3:11], expected)


def test_every_column_of_a_real_pair():
    """Folders of a pair of models, as base:tuned in TOKENSHIFT_TEST_PAIR."""
    folders = os.environ.get("TOKENSHIFT_TEST_PAIR", "").split(":")
    if len(folders) != 2 or not all(Path(folder).is_dir() for folder in folders):
        pytest.skip("TOKENSHIFT_TEST_PAIR does not name two model folders as base:tuned")
    tokenizer = load_tokenizer(folders[0])
    pair = [Policy.of(load_model(folder, "float32", "cpu"), tokenizer) for folder in folders]
    text = tokenizer.encode("A train leaves at noon at sixty miles per hour. When does the next one pass it?")
    given = pl.DataFrame(
        {"problem_id": ["p"], "sample": [0], "prompt_token_ids": [text[:4]], "response_token_ids": [text[4:]]}
    )
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=1000, chunk_positions=8))
    assert_scores(table, expected_rows(pair, given), 1e-4)
