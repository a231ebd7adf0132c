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


def run(checkout: Checkout, folder: Path, study: dict, *arguments: str):
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**study, "name": "bad"}))
    return checkout.snakemake("--config", f"study={file}", *arguments)


def study_of_existing_models(folder: Path, problems: dict[str, list[dict]], tuned: list[str]) -> dict:
    """A study of JSON-lines files and of pairs of existing models, each of `tuned` with the model `base`."""
    for name, rows in problems.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "prompt": {"template": "{problem}=", "chat": False},
        "problems": {name: {"jsonl": {"path": str(folder / f"{name}.jsonl")}} for name in problems},
        "models": {name: {"pretrained": {"path": str(folder / name)}} for name in ("base", *tuned)},
        "pairs": {name: {"base": "base", "tuned": name} for name in tuned},
        "evaluation": {"sets": list(problems), "samples": 1, "max_new_tokens": 4},
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


WRONG_PROBLEMS = {
    "no-answers": ([{"problem": "1 + 1", "problem_id": "a"}], "no column 'answer'"),
    "repeated-ids": ([PROBLEM, PROBLEM], "problem_id 'a'"),
    "empty": ([{**PROBLEM, "problem": " "}], "empty problem"),
    "unparsable": ([{**PROBLEM, "answer": "\\frac{"}], "cannot be read by math-verify"),
}


@pytest.mark.study
def test_wrong_problems(bad, tmp_path):
    """All in one run, each refused with its own message."""
    problems = {name: rows for name, (rows, _) in WRONG_PROBLEMS.items()}
    result = run(bad, tmp_path, study_of_existing_models(tmp_path, problems, ["tuned"]), "--keep-going")
    for name, (_, message) in WRONG_PROBLEMS.items():
        fails_before_compute(bad, result, message)
        assert not (bad.root / f"results/bad/problems/{name}.parquet").exists()


@pytest.mark.study
def test_training_on_problems_that_are_evaluated_on(bad, tmp_path):
    models = {
        "base": TINY["models"]["base"],
        "dapo": {"from": "base", "rl": TINY["models"]["dapo"]["rl"] | {"problems": "heldout"}},
    }
    study = {key: TINY[key] for key in ("prompt", "problems", "corpora", "evaluation")}
    study |= {"models": models, "pairs": {"dapo": {"base": "base", "tuned": "dapo"}}}
    result = run(bad, tmp_path, study)
    fails_before_compute(bad, result, "12 problems are both trained and evaluated on, the first: heldout-00000")
    assert not (bad.root / "results/bad/models").exists()


@pytest.mark.study
def test_models_that_cannot_be_used(bad, tmp_path):
    for name, characters in (("base", " +="), ("other-tokenizer", "*+="), ("no-weights", " +=")):
        tiny_policy(0).model.save_pretrained(tmp_path / name)
        save_tokenizer(tmp_path / name, characters)
    (tmp_path / "no-weights" / "model.safetensors").unlink()
    study = study_of_existing_models(tmp_path, {"given": [PROBLEM]}, ["other-tokenizer", "no-weights"])
    result = run(bad, tmp_path, study, "--keep-going")
    fails_before_compute(bad, result, "no-weights holds no weights")
    fails_before_compute(bad, result, "ordinary tokens first differ at id")


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
    ours = {"version": 1, "schema_version": 3, "outputs": [{"path": "results/bad/tables/sparsity.csv"}]}
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
