"""The scripts as a rule calls them: command line in, CSV out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import processes
from tables.examples import (
    analysis,
    write_checkpoint_scores,
    write_cross_samples,
    write_metrics,
    write_rollouts,
    write_scores,
    write_vocabulary,
)
from tokenshift.config.analysis import Measures
from tokenshift.config.section import part_of

KEYS = {
    "sparsity": ["scores"],
    "position_profile": ["scores", "rollouts", "cross_samples"],
    "entropy_by_js": ["scores"],
    "js_entropy": ["scores"],
    "token_identity": ["scores", "vocabularies"],
    "top_k_overlap": ["scores"],
    "first_choices": ["scores"],
    "mass_reallocation": ["scores"],
    "truncation": ["scores"],
    "evolution": ["checkpoint_scores"],
    "cross_sampling": ["cross_samples"],
    "recovered_gain": ["cross_samples"],
    "budget_frontier": ["cross_samples"],
    "replacement_positions": ["cross_samples"],
    "training": ["rollouts"],
    "training_curves": ["models"],
    "claims": ["scores", "cross_samples", "checkpoint_scores", "rollouts", "models"],
}
HASHES = {"code": "", "environment": "", "allow_overlap": False}
MEASURED = {"analysis": part_of(analysis(), Measures), **HASHES}
INTERVALS = {"bootstrap": analysis().bootstrap.plain(), **HASHES}
TRAINING = {"groups": {"base": {"0": "base"}}, "base_of": {}, "baseline_of": {}}
TRUNCATION = {"temperature": 1.0, "top_p": 0.7}
SPECS = dict.fromkeys(KEYS, MEASURED) | {
    "entropy_by_js": MEASURED | {"low_entropy": 0.5},
    "position_profile": MEASURED | {"pairs": {"dapo": {"base": "base", "tuned": "base"}}},
    "truncation": MEASURED | {"truncation": TRUNCATION, "ablation": [{"temperature": 0.5, "top_p": 1.0}]},
    "replacement_positions": MEASURED | {"budget": 0.1},
    "cross_sampling": INTERVALS,
    "recovered_gain": INTERVALS,
    "training": INTERVALS | {"training": TRAINING},
    "training_curves": HASHES | {"groups": TRAINING["groups"], "confidence": 0.95},
    "claims": HASHES
    | {"control_of": {"dapo": None}, "training": TRAINING, "weighted": [], "analysis": analysis().plain()},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    sweep = {float("inf"): (0.2, 0, 0), 0.1: (0.6, 8, 2), float("-inf"): (0.7, 20, 5)}
    return {
        "scores": write_scores(folder),
        "vocabularies": write_vocabulary(folder),
        "checkpoint_scores": write_checkpoint_scores(folder),
        "cross_samples": write_cross_samples(folder, sweep),
        "rollouts": write_rollouts(folder, "base", 0.5),
        "models": write_metrics(folder, "base", [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.75}]),
    }


def arguments(name: str, inputs: dict[str, Path], output: Path) -> list[str]:
    flags = [argument for kind, path in inputs.items() for argument in (f"--{kind.replace('_', '-')}", str(path))]
    return ["--spec", json.dumps(SPECS[name]), *flags, "--output", str(output)]


def run(name: str, inputs: dict[str, Path], output: Path) -> tuple[int | None, str]:
    """Run a table's script; its exit code, and what it printed on stderr."""
    log = output.parent.parent / f"{output.parent.name}.log"
    (code,) = processes.ended(
        processes.start(1, log, processes.script, f"tables/{name}.py", arguments(name, inputs, output))
    )
    return code, log.read_text()


def test_every_script_is_run_here():
    assert {script.stem for script in (processes.ROOT / "workflow/scripts/tables").glob("*.py")} == set(KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_script_writes_its_table(name, files, tmp_path):
    output = tmp_path / f"{name}.csv"
    code, printed = run(name, {kind: files[kind] for kind in KEYS[name]}, output)
    assert code == 0, printed
    table = pl.read_csv(output, infer_schema_length=None)
    assert len(table) > 0
    over = "n_seeds" if name == "training_curves" else "n_problems"
    assert {"estimate", "ci_low", "ci_high", over} <= set(table.columns)


def test_the_same_files_give_the_same_bytes_in_another_process(files, tmp_path):
    inputs = {kind: files[kind] for kind in KEYS["token_identity"]}
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    run("token_identity", inputs, first)
    command = [sys.executable, processes.ROOT / "workflow/scripts/tables/token_identity.py"]
    environment = os.environ | {"PYTHONPATH": str(processes.ROOT / "workflow"), "PYTHONHASHSEED": "12345"}
    subprocess.run([*command, *arguments("token_identity", inputs, second)], env=environment, check=True)
    assert first.read_bytes() == second.read_bytes()


def one_line(result: tuple[int | None, str]) -> None:
    """Raise unless the script ended with status 1 and one line that says why."""
    code, printed = result
    assert code == 1
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


def test_a_table_says_where_models_may_know_what_they_are_asked(files, tmp_path, monkeypatch):
    monkeypatch.setitem(SPECS, "sparsity", SPECS["sparsity"] | {"allow_overlap": True})
    code, printed = run("sparsity", {"scores": files["scores"]}, tmp_path / "sparsity.csv")
    assert code == 0, printed
    assert pl.read_csv(tmp_path / "sparsity.csv")["trained_on_evaluated"].all()


def test_bad_input_is_one_line(files, tmp_path):
    one_line(run("sparsity", {"scores": files["rollouts"]}, tmp_path / "sparsity.csv"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cross_sampling", "recovered_gain", "budget_frontier", "replacement_positions"])
def test_half_a_sweep_is_one_line_and_no_table(name, tmp_path):
    half = write_cross_samples(tmp_path / "study", {float("inf"): (0.2, 0, 0), 0.1: (0.6, 8, 2)})
    one_line(run(name, {"cross_samples": half}, tmp_path / "table.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
