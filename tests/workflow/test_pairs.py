"""Pairs of existing models of every kind, from their folders to the figures: a small study for each."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from checkouts import Checkout, copy_project
from policies.architectures import VOCABULARY, made
from tiny_models import save_tokenizer

pytestmark = [pytest.mark.study, pytest.mark.xdist_group("pairs")]  # one run for all

CHARACTERS = " +-=\\boxed{}0123456789?!ac"[: VOCABULARY - 3]
KINDS = {"windows": "Gemma3Text", "experts": "Qwen3Moe", "hybrid": "Qwen3Next"}


def save(name: str, folder: Path, seed: int) -> torch.nn.Module:
    """A tiny model of an architecture in a folder, with a tokenizer of characters."""
    model = made(name, seed).float()
    model.save_pretrained(folder)
    save_tokenizer(folder, CHARACTERS)
    return model


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Checkout, dict]:
    """A project with a study of five pairs that has run to its end."""
    project, models = copy_project(tmp_path_factory.mktemp("pairs") / "project"), {}
    folder = project.root / "data"
    for kind, name in KINDS.items():
        for place, seed in (("base", 0), ("tuned", 1)):
            save(name, folder / f"{kind}-{place}", seed)
            models[f"{kind}-{place}"] = {"pretrained": {"path": f"data/{kind}-{place}"}}
    base = save("Llama", folder / "adapter-base", 0)
    torch.manual_seed(3)
    adapter = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(base, adapter).save_pretrained(folder / "adapter")
    models["adapter-base"] = {"pretrained": {"path": "data/adapter-base"}}
    models["adapter-tuned"] = {"pretrained": {"path": "data/adapter-base", "adapter": {"path": "data/adapter"}}}
    models["adapter-tuned"]["pretrained"]["checkpoints"] = {10: {"path": "data/adapter-base"}}
    for place, seed in (("base", 0), ("tuned", 1)):
        save("Llama", folder / f"special-{place}", seed)
        models[f"special-{place}"] = {"pretrained": {"path": f"data/special-{place}"}}
    save_tokenizer(folder / "special-tuned", CHARACTERS, end="<end>")
    tokenizer = AutoTokenizer.from_pretrained(folder / "special-tuned")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>"]})
    tokenizer.save_pretrained(folder / "special-tuned")
    models["special-tuned"]["prompt"] = {"template": "?{problem}=<think>"}
    rows = [{"problem_id": str(n), "problem": f"{n} + {n}", "answer": str(2 * n)} for n in range(1, 5)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = {kind: {"base": f"{kind}-base", "tuned": f"{kind}-tuned"} for kind in [*KINDS, "adapter", "special"]}
    pairs["special"]["special_tokens"] = {"<eos>": "<end>"}
    text = {
        "name": "pairs",
        "prompt": {"template": "{problem}=", "chat": False},
        "problems": {"sums": {"jsonl": {"path": "data/sums.jsonl"}}},
        "models": models,
        "pairs": pairs,
        "evaluation": {"sets": ["sums"], "samples": 2, "max_new_tokens": 20},
        "scoring": {"conditioning": "own"},
        "cross_sampling": {
            "pairs": list(pairs),
            "directions": ["forward"],
            "random_controls": [],
            "quantiles": [0.5, 0.9],
        },
        "analysis": {"bootstrap": {"replicates": 50}, "identity_minimum": 1},
    }
    (project.root / "config/studies/pairs.yaml").write_text(yaml.safe_dump(text))
    result = project.snakemake("--config", "study=pairs")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return project, pairs


def test_every_pair_is_in_every_table_and_the_figures_are_there(study):
    project, pairs = study
    tables = project.root / "results/pairs/tables"
    for table in ("sparsity", "first_choices", "cross_sampling", "recovered_gain", "claims"):
        assert set(pl.read_csv(tables / f"{table}.csv")["pair"]) >= set(pairs), table
        assert (project.root / f"results/pairs/figures/{table}.pdf").stat().st_size > 0


def test_responses_are_longer_than_the_window(study):
    rollouts = pl.read_parquet(study[0].root / "results/pairs/rollouts/windows-base/sums.parquet")
    assert rollouts["response_token_ids"].list.len().max() > 8


def test_sweeps_end_at_both_models_own_rollouts(study):
    project, pairs = study
    for pair, models in pairs.items():
        if pair == "special":  # whose models decode together without the tokens that only one has
            continue
        sweep = pl.read_parquet(project.root / f"results/pairs/cross_samples/{pair}/sums/forward-js.parquet")
        for threshold, model in ((float("inf"), models["base"]), (-float("inf"), models["tuned"])):
            own = pl.read_parquet(project.root / f"results/pairs/rollouts/{model}/sums.parquet")
            ours = sweep.filter(pl.col("threshold") == threshold)["response_token_ids"].to_list()
            # The adapter is merged where its model is alone: equal but for rounding.
            equal = [a == b for a, b in zip(ours, own["response_token_ids"].to_list(), strict=True)]
            assert sum(equal) >= len(equal) - (pair == "adapter"), (pair, model)


def test_special_tokens_of_one_model_alone_are_left_out_and_their_mass_is_told(study):
    results = study[0].root / "results/pairs"
    vocabulary = pl.read_parquet(results / "vocabularies/special.parquet")
    (think,) = vocabulary.filter(~pl.col("shared"))["token_id"]
    own = pl.read_parquet(results / "rollouts/special-tuned/sums.parquet")
    assert all(prompt[-1] == think for prompt in own["prompt_token_ids"].to_list())
    assert own["response_token_ids"].list.contains(think).any()
    scores = pl.read_parquet(results / "scores/special/sums/tuned.parquet")
    assert think not in scores["token_id"]
    assert 0 < len(scores) < own["response_token_ids"].list.len().sum()
    sweep = pl.read_parquet(results / "cross_samples/special/sums/forward-js.parquet")
    assert not sweep["response_token_ids"].list.contains(think).any()
    masses = pl.read_csv(results / "tables/mass_reallocation.csv")
    masses = masses.filter(candidates="unshared", positions="all", trajectory="tuned", quantity="mass_tuned")
    by_pair = dict(masses.select("pair", "estimate").iter_rows())
    assert by_pair.pop("special") > 0
    assert set(by_pair.values()) == {0}
    log = (results / "logs/scores/special/sums/tuned.log").read_text()
    assert "the first prompt of the base model: '1 + 1='" in log
    assert "the first prompt of the tuned model: '?1 + 1=<think>'" in log


def test_checkpoints_that_others_trained_are_in_the_evolution(study):
    evolution = pl.read_csv(study[0].root / "results/pairs/tables/evolution.csv")
    assert set(evolution["pair"]) == {"adapter"}
    assert set(evolution["step"]) == {10}
    assert evolution["estimate"].max() < 1e-6  # this checkpoint is the base itself
