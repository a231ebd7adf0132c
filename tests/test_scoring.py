import inspect

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from scipy.spatial.distance import jensenshannon

from tiny_models import VOCABULARY, mixed, tiny_policy
from tokenshift.comparison import Settings
from tokenshift.errors import StudyError
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


def naive_row(pair, prompt: list[int], response: list[int], position: int) -> dict:
    """The scores at one position, straight from their definitions over dense float64 probabilities."""
    with torch.inference_mode():
        prefix = torch.tensor([prompt + response[:position]])
        logits = [policy.model(prefix).logits[0, -1, :VOCABULARY].numpy() for policy in pair]
    p, q = (np.exp(block - block.max()) / np.exp(block - block.max()).sum() for block in logits)
    row = {"token_id": response[position], "js": jensenshannon(p, q) ** 2}
    cut = []
    for block in logits:
        warm = np.exp((block - block.max()) / SETTINGS.temperature)
        warm /= warm.sum()
        order = np.argsort(-warm)
        size = int(np.searchsorted(np.cumsum(warm[order]), SETTINGS.top_p) + 1)
        cut.append((warm, set(order[:size].tolist())))
    truncated = [np.where(np.isin(np.arange(VOCABULARY), list(inside)), warm, 0) for warm, inside in cut]
    row["js_nucleus"] = jensenshannon(*truncated) ** 2
    row["kl_base_tuned"], row["kl_tuned_base"] = (p * np.log(p / q)).sum(), (q * np.log(q / p)).sum()
    groups = {"shared": cut[0][1] & cut[1][1], "base_only": cut[0][1] - cut[1][1], "tuned_only": cut[1][1] - cut[0][1]}
    for name, own, other, (warm, inside) in (("base", p, q, cut[0]), ("tuned", q, p, cut[1])):
        rival = "tuned" if name == "base" else "base"
        row[f"entropy_{name}"] = -(own * np.log(own)).sum()
        row[f"logp_{name}"] = np.log(own[response[position]])
        row[f"rank_in_{name}_of_{rival}_top1"] = int((own > own[other.argmax()]).sum() + 1)
        row[f"logp_{name}_of_{rival}_top1"] = np.log(own[other.argmax()])
        row[f"nucleus_size_{name}"] = len(inside)
        row[f"top_ids_{name}"] = np.argsort(-own)[: SETTINGS.top_k].tolist()
        row[f"top_logps_{name}"] = np.log(np.sort(own)[::-1][: SETTINGS.top_k]).tolist()
        for kind, members in groups.items():
            row[f"mass_{name}_{kind}"] = warm[list(members)].sum()
    return row


def test_every_column_against_its_definition(pair):
    given = rollouts([5, 1, 9, 7])
    table = pl.from_arrow(score(*pair, given, SETTINGS, batch_tokens=30, chunk_positions=4))
    expected = [
        {"problem_id": problem, "sample": sample, "position": position, **naive_row(pair, prompt, response, position)}
        for problem, sample, prompt, response in given.iter_rows()
        for position in range(len(response))
    ]
    assert set(expected[0]) == set(SCORES.names)
    for column in SCORES.names:
        values = [row[column] for row in expected]
        if table[column].dtype in (pl.String, pl.Int32, pl.List(pl.Int32)):
            assert table[column].to_list() == values, column
        else:
            np.testing.assert_allclose(np.array(table[column].to_list()), np.array(values), atol=1e-6, err_msg=column)


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
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "num_key_value_heads": 1, "head_dim": 8, "logit_scale": 0.3, "logits_scaling": 5.0}
    extra = {"GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2}, "OPT": {"ffn_dim": 32, "word_embed_proj_dim": 8}}
    name = {"Gemma3": "Gemma3Text"}.get(architecture, architecture)
    config_class = getattr(transformers, f"{name}Config")
    given = extra.get(architecture, more)
    known = set(inspect.signature(config_class).parameters)
    config = config_class(**{key: value for key, value in {**sizes, **given}.items() if key in known or key in sizes})
    if architecture.startswith("Gemma"):
        config.final_logit_softcapping = 2.0
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    tokens = torch.randint(2, 40, (1, 12))
    with torch.inference_mode():
        expected = model(tokens).logits[0, 3:11]
        hidden = _response_hidden_states(model, tokens.tolist(), [8])
        with _own_head(model) as head:
            found = torch.cat([head(hidden[:5]), head(hidden[5:])])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model(tokens).logits[0, 3:11], expected)
