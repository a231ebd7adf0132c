"""Bad studies and bad data end before any compute, with one clear line and no output."""

import json
import re
import shutil
from pathlib import Path

import polars
import pytest
import yaml

from checkouts import ROOT, Checkout
from tiny_models import save_tokenizer, tiny_policy

TINY = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
PROBLEM = {"problem_id": "a", "problem": "1 + 1", "answer": "2"}


@pytest.fixture
def bad(checkout):
    """A project without results of the study `bad`."""
    shutil.rmtree(checkout.root / "results" / "bad", ignore_errors=True)
    return checkout


def run(checkout: Checkout, folder: Path, study: dict):
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**study, "name": "bad"}))
    return checkout.snakemake("--config", f"study={file}")


def existing_pair(problems: Path, base: Path, tuned: Path) -> dict:
    """A study of two existing models on the problems of a JSON-lines file."""
    return {
        "prompt": {"template": "{problem}=", "chat": False},
        "problems": {"given": {"jsonl": {"path": str(problems)}}},
        "models": {"base": {"pretrained": {"path": str(base)}}, "tuned": {"pretrained": {"path": str(tuned)}}},
        "pairs": {"pair": {"base": "base", "tuned": "tuned"}},
        "evaluation": {"sets": ["given"], "samples": 1, "max_new_tokens": 4},
    }


def fails_before_compute(checkout: Checkout, result, message: str) -> None:
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    made = [file for file in (checkout.root / "results" / "bad").rglob("*.parquet") if "rollouts" in file.parts]
    assert made == []


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("evaluation", {"tempratur": 1.0}, "evaluation.tempratur: unknown key (did you mean 'temperature'?)"),
        ("evaluation", {"top_p": 1.5}, "evaluation.top_p: input should be less than or equal to 1, not 1.5"),
        ("pairs", {"dapo": {"base": "base", "tuned": "dpo"}}, "no model is called 'dpo'"),
        ("cross_sampling", {"quantiles": [0.9, 0.5]}, "quantiles out of order: [0.9, 0.5] must increase"),
    ],
)
def test_a_wrong_study_file(bad, tmp_path, section, change, message):
    result = run(bad, tmp_path, {**TINY, section: {**TINY[section], **change}})
    fails_before_compute(bad, result, message)
    assert not (bad.root / "results" / "bad").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem": "1 + 1", "problem_id": "a"}], "answer"),
        ([PROBLEM, PROBLEM], "problem_id 'a'"),
        ([{**PROBLEM, "problem": " "}], "empty problem"),
        ([{**PROBLEM, "answer": "\\frac{"}], "answer"),
    ],
    ids=["missing column", "duplicate id", "empty problem", "unparsable answer"],
)
@pytest.mark.study
def test_wrong_problems(bad, tmp_path, rows, message):
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = existing_pair(problems, tmp_path / "base", tmp_path / "tuned")
    result = run(bad, tmp_path, study)
    fails_before_compute(bad, result, message)


@pytest.mark.study
@pytest.mark.parametrize(
    ("other_characters", "weights", "message"),
    [
        ("0123456789+=*", True, "disagree at id 14, ' ' against '*'"),
        ("0123456789+= ", False, "tuned holds no weights"),
    ],
    ids=["tokenizers", "weights"],
)
def test_models_that_cannot_be_used(bad, tmp_path, other_characters, weights, message):
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps(PROBLEM) + "\n")
    for name, characters in (("base", "0123456789+= "), ("tuned", other_characters)):
        tiny_policy(0).model.save_pretrained(tmp_path / name)
        save_tokenizer(tmp_path / name, characters)
    if not weights:
        (tmp_path / "tuned" / "model.safetensors").unlink()
    study = existing_pair(problems, tmp_path / "base", tmp_path / "tuned")
    fails_before_compute(bad, run(bad, tmp_path, study), message)


@pytest.mark.study
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"version": 99}, "results/bad holds results of newer code (results/bad/tables/sparsity.csv.prov.json has"),
        ({"schema_version": 99}, "results/bad holds results of newer code"),
        (
            {"outputs": [{"path": "results/other/tables/sparsity.csv"}]},
            "results/bad holds results of another study: results/bad/tables/sparsity.csv.prov.json is the record of "
            "results/other/tables/sparsity.csv",
        ),
    ],
    ids=["newer record", "newer schema", "another study"],
)
def test_results_that_are_not_this_study_s(bad, tmp_path, record, message):
    ours = {"version": 1, "schema_version": 2, "outputs": [{"path": "results/bad/tables/sparsity.csv"}]}
    file = bad.root / "results/bad/tables/sparsity.csv.prov.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(ours | record))
    fails_before_compute(bad, run(bad, tmp_path, TINY), message)
    assert file.exists()


@pytest.mark.study
def test_packages_other_than_the_locked_ones(bad, tmp_path):
    lock = bad.root / "requirements.lock"
    before = lock.read_text()
    lock.write_text(re.sub("^polars==.*$", "polars==0.1", before, flags=re.MULTILINE))
    try:
        result = run(bad, tmp_path, TINY)
    finally:
        lock.write_text(before)
    message = f"installed packages differ from requirements.lock: polars {polars.__version__} (locked: 0.1); install"
    fails_before_compute(bad, result, message)
    assert not (bad.root / "results" / "bad").exists()
