import copy
import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from polars.testing import assert_frame_equal

from naive_scoring import naive_row, softmax
from tiny_models import VOCABULARY, mixed, tiny_model, tiny_policy
from tokenshift.config.measurements import Compared, Truncation
from tokenshift.distributions import comparison
from tokenshift.distributions.comparison import compare
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.policies.policy import Policy
from tokenshift.schemas import SCORES
from tokenshift.scoring import teacher_forcing
from tokenshift.scoring.teacher_forcing import Work, score

TRUNCATION = Truncation(temperature=0.8, top_p=0.7)
COMPARED = Compared(
    ablation=[
        Truncation(temperature=1.0, top_p=0.9),
        Truncation(temperature=0.5, top_p=1.0),
        Truncation(temperature=0.8, top_p=0.95),
    ],
    top_k=6,
    list_minimum=0.02,
)


def scores(
    base: Policy, tuned: Policy, given: pl.DataFrame, batch_tokens: int, chunk_positions: int, **more
) -> pl.DataFrame:
    parts = score(base, tuned, given, TRUNCATION, COMPARED, Work(batch_tokens, chunk_positions), **more)
    return pl.from_arrow(pa.concat_tables(parts))


def rollouts(lengths: list[int], seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    prompts = [random.integers(2, VOCABULARY, random.integers(2, 7)).tolist() for _ in range(0, len(lengths), 2)]
    return pl.DataFrame(
        {
            "problem_id": [f"p{row // 2}" for row in range(len(lengths))],
            "sample": [row % 2 for row in range(len(lengths))],
            "prompt_token_ids": [prompts[row // 2] for row in range(len(lengths))],
            "response_token_ids": [random.integers(2, VOCABULARY, length).tolist() for length in lengths],
        },
        schema_overrides={"response_token_ids": pl.List(pl.Int64)},
    )


@pytest.fixture(scope="module")
def pair():
    base = tiny_policy(0)
    return base, mixed(base, tiny_policy(1), 0.3)


def expected_rows(pair, given: pl.DataFrame, shared_ids=None, own_prompts=None) -> list[dict]:
    """Naive scores of `given`, from float64 copies of both models."""
    exact = [copy.deepcopy(policy.model).double() for policy in pair]
    ids = np.arange(min(policy.vocabulary_size for policy in pair)) if shared_ids is None else shared_ids
    rows = []
    for problem, sample, prompt, response in given.iter_rows():
        blocks = []
        for which, (policy, model) in enumerate(zip(pair, exact, strict=True)):
            before = own_prompts[which][problem] if own_prompts else prompt
            with torch.inference_mode():
                logits = model(torch.tensor([before + response])).logits[0, len(before) - 1 :]
            blocks.append(logits[:, : policy.vocabulary_size].numpy())
        for position, token in enumerate(response):
            if token not in ids:
                break
            logits = [block[position] for block in blocks]
            row = {"problem_id": problem, "sample": sample, "position": position}
            row |= naive_row([block[ids] for block in logits], ids.tolist().index(token), TRUNCATION, COMPARED)
            for name, block in zip(("base", "tuned"), logits, strict=True):
                row[f"mass_{name}_unshared"] = 1 - softmax(block, 1.0)[ids].sum()
                row[f"top_ids_{name}"] = ids[row[f"top_ids_{name}"]].tolist()
            rows.append(row | {"token_id": token})
    return rows


def assert_scores(table: pl.DataFrame, expected: list[dict], tolerance: float) -> None:
    """Every column of `table` against the naive scores: integers equal, the rest within `tolerance`."""
    assert set(expected[0]) == set(SCORES.names)
    for column in SCORES.names:
        values = [row[column] for row in expected]
        if table[column].dtype in (pl.String, pl.Int32, pl.List(pl.Int32), pl.List(pl.Int8)):
            assert table[column].to_list() == values, column
        else:
            found = table[column].to_list()
            if isinstance(values[0], list):
                assert list(map(len, found)) == list(map(len, values)), column
                found, values = np.concatenate(found), np.concatenate(values)
            np.testing.assert_allclose(found, values, rtol=0, atol=tolerance, err_msg=column)


def test_every_column_against_its_definition(pair):
    given = rollouts([5, 1, 9, 7])
    table = scores(*pair, given, batch_tokens=30, chunk_positions=4)
    assert_scores(table, expected_rows(pair, given), 2.5e-6)  # floats are stored to 2^-18


# Tokens that both have: at neither end alone, in the middle, and all but those that the tuned model has besides.
SHARED = [[0, 1, 2, *range(4, 9), *range(10, 22)], [*range(3, VOCABULARY)], [*range(VOCABULARY)], [*range(20)]]


@pytest.mark.parametrize("ids", SHARED)
def test_every_column_is_of_the_shared_tokens(pair, ids):
    base, tuned = pair
    wider = base, Policy(tuned.model, tuned.stop_token_ids, VOCABULARY + 2)
    given, ids = rollouts([15, 1, 19, 17]), np.array(ids)
    prompts = [{f"p{n}": [ids[5 + n], ids[7]] * (1 + other) for n in range(2)} for other in range(2)]
    table = scores(*wider, given, batch_tokens=30, chunk_positions=4, shared_ids=ids, own_prompts=prompts)
    assert_scores(table, expected_rows(wider, given, ids, prompts), 2.5e-6)
    assert table["mass_tuned_unshared"].min() > 0


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_each_policy_may_have_its_own_prompts(pair, batch_tokens):
    given = rollouts([5, 1, 9, 7, 3, 8])
    prompts = [{f"p{n}": [2 + n] * longer for n in range(3)} for longer in (1, 9)]
    table = scores(*pair, given, batch_tokens=batch_tokens, chunk_positions=4, own_prompts=prompts)
    assert_scores(table, expected_rows(pair, given, own_prompts=prompts), 2.5e-6)
    on_the_responders = scores(*pair, given, batch_tokens=batch_tokens, chunk_positions=4)
    assert abs(table["js"] - on_the_responders["js"]).min() > 1e-4


def test_responses_are_cut_at_the_first_token_that_is_not_shared(pair, capsys):
    given = rollouts([6, 6]).with_columns(
        prompt_token_ids=pl.Series([[2, 4]] * 2), response_token_ids=pl.Series([[2, 4, 3, 5, 6, 7], [3, 2, 4, 5, 6, 7]])
    )
    ids = np.array([0, 1, 2, *range(4, VOCABULARY)])
    table = scores(*pair, given, batch_tokens=100, chunk_positions=8, shared_ids=ids)
    assert table["token_id"].to_list() == [2, 4]
    assert (
        "2 of 2 responses are compared up to their first token that only one model has; 10 pos"
        in capsys.readouterr().err
    )
    unknown = given.with_columns(prompt_token_ids=pl.Series([[2, 3]] * 2))
    with pytest.raises(StudyError, match=r"problem p0: its prompt holds token 3, .* set scoring.conditioning to own"):
        scores(*pair, unknown, batch_tokens=100, chunk_positions=8, shared_ids=ids)


@pytest.mark.parametrize("architecture", ["Qwen2", "Llama", "Gemma2", "Gemma3", "Phi"])
def test_every_column_in_single_precision(architecture):
    pair = [Policy(tiny_model(architecture, seed), (), VOCABULARY) for seed in (0, 1)]
    given = rollouts([5, 1, 9, 7])
    table = scores(*pair, given, batch_tokens=30, chunk_positions=4)
    assert_scores(table, expected_rows(pair, given), 1e-5)


@pytest.mark.parametrize("architecture", ["Qwen2", "Llama", "Gemma2", "Gemma3", "Phi"])
def test_js_in_half_precision_follows_from_the_models_own_logits(architecture):
    """Against the logits as the models give them in bfloat16: the statistics add no error of that precision."""
    pair = [Policy(tiny_model(architecture, seed).bfloat16(), (), VOCABULARY) for seed in (0, 1)]
    given = rollouts([12])
    table = scores(*pair, given, batch_tokens=30, chunk_positions=64)
    (prompt,), (response,) = given["prompt_token_ids"].to_list(), given["response_token_ids"].to_list()
    with torch.inference_mode():
        blocks = [policy.model(torch.tensor([prompt + response])).logits[0].double().numpy() for policy in pair]
    start = len(prompt) - 1
    expected = [
        naive_row([block[start + position, :VOCABULARY] for block in blocks], token, TRUNCATION, COMPARED)["js"]
        for position, token in enumerate(response)
    ]
    np.testing.assert_allclose(table["js"], expected, atol=1e-3)


def assert_same_scores(table: pl.DataFrame, reference: pl.DataFrame) -> None:
    assert_frame_equal(table, reference, abs_tol=1e-5, rel_tol=0)


@pytest.mark.parametrize(("batch_tokens", "chunk_positions"), [(1, 16), (10_000, 1024), (40, 1)])
def test_does_not_depend_on_batches_or_chunks(pair, batch_tokens, chunk_positions):
    given = rollouts([5, 1, 9, 7, 3, 8])
    reference = scores(*pair, given, batch_tokens=30, chunk_positions=4)
    assert_same_scores(scores(*pair, given, batch_tokens, chunk_positions), reference)


def test_chunks_that_are_not_waited_for_give_the_same_rows(pair, monkeypatch):
    """As on a GPU; of three candidates, so that most nuclei reach beyond them."""
    given = rollouts([9, 0, 17, 30, 4])
    expected = scores(*pair, given, 60, 7)
    monkeypatch.setattr(teacher_forcing, "_goes_on", lambda device: True)
    monkeypatch.setattr(comparison, "CANDIDATES", 3)
    looked_again = []
    compare_waiting = comparison.compare_nuclei
    monkeypatch.setattr(
        comparison, "compare_nuclei", lambda *args: (looked_again.append(len(args[3])), compare_waiting(*args))[1]
    )
    assert_same_scores(scores(*pair, given, 60, 7), expected)
    assert sum(looked_again) > 0


def test_groups_of_problems_give_the_same_rows(pair):
    given = rollouts([5, 1, 9, 7, 3, 8])
    reference = scores(*pair, given, batch_tokens=30, chunk_positions=4)
    parts = list(score(*pair, given, TRUNCATION, COMPARED, Work(8, 4)))
    assert [len(part) for part in parts] == [22, 11]
    assert_same_scores(pl.from_arrow(pa.concat_tables(parts)), reference)


def test_shards_are_whole_groups_and_more_than_there_are_stay_empty(pair):
    given = rollouts([5, 1, 9, 7, 3, 8])
    whole = pa.concat_tables(score(*pair, given, TRUNCATION, COMPARED, Work(8, 4)))
    parts = [
        pa.concat_tables(score(*pair, given, TRUNCATION, COMPARED, Work(8, 4), (number, 3))) for number in range(3)
    ]
    assert [len(part) for part in parts] == [22, 11, 0]
    assert pa.concat_tables(parts).equals(whole)


def test_empty_responses_are_no_rows(pair):
    assert len(scores(*pair, rollouts([0, 4, 0]), batch_tokens=1000, chunk_positions=64)) == 4
    nothing = pa.concat_tables(score(*pair, rollouts([0]), TRUNCATION, COMPARED, Work(1000, 64)))
    assert (len(nothing), nothing.schema) == (0, SCORES)


def test_refuses_what_does_not_fit(pair):
    with pytest.raises(StudyError, match=r"problem p0, sample 1: .*context is 128"):
        scores(*pair, rollouts([4, 200]), batch_tokens=1000, chunk_positions=64)
    stray = rollouts([3]).with_columns(response_token_ids=pl.Series([[2, VOCABULARY, 3]]))
    with pytest.raises(StudyError, match=rf"token id {VOCABULARY} lies outside"):
        scores(*pair, stray, batch_tokens=1000, chunk_positions=64)


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
        scores(base, broken, given, batch_tokens=1000, chunk_positions=64)


@pytest.fixture(scope="module")
def real_pair() -> tuple[list[Policy], pl.DataFrame]:
    """The pair whose folders TOKENSHIFT_TEST_PAIR names as base:tuned, and a response of natural text."""
    folders = os.environ.get("TOKENSHIFT_TEST_PAIR", "").split(":")
    if len(folders) != 2 or not all(Path(folder).is_dir() for folder in folders):
        pytest.skip("TOKENSHIFT_TEST_PAIR does not name two model folders as base:tuned")
    tokenizer = load_tokenizer(folders[0])
    text = tokenizer.encode("A train leaves at noon at sixty miles per hour. When does the next one pass it?")
    given = {"problem_id": ["p"], "sample": [0], "prompt_token_ids": [text[:4]], "response_token_ids": [text[4:]]}
    return [Policy.of(load_model(folder, "float32", "cpu"), tokenizer) for folder in folders], pl.DataFrame(given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_column_of_a_real_pair_from_its_dense_logits(real_pair, dtype):
    pair, given = real_pair
    tokens = torch.tensor(given["prompt_token_ids"].to_list()[0] + given["response_token_ids"].to_list()[0])
    with torch.inference_mode():
        logits = [policy.model(tokens[None]).logits[0, 3:-1].to(dtype) for policy in pair]
        columns = compare(*logits, tokens[4:], TRUNCATION, COMPARED)
    exact = [block.double().numpy() for block in logits]
    for position, token in enumerate(tokens[4:].tolist()):
        expected = naive_row([block[position] for block in exact], token, TRUNCATION, COMPARED)
        for name, values in columns.items():
            found = values[position].numpy()
            listed = len(np.atleast_1d(expected[name]))
            np.testing.assert_allclose(np.atleast_1d(found)[:listed], expected[name], rtol=0, atol=1e-5, err_msg=name)


def test_every_column_of_a_real_pair(real_pair):
    """Against float64 copies of the models: a forward pass in float32 is itself off by 2e-5 in log-probabilities."""
    table = scores(*real_pair[0], real_pair[1], batch_tokens=1000, chunk_positions=8)
    assert_scores(table, expected_rows(*real_pair), 5e-5)
