"""The tiny study, end to end through Snakemake: what it makes, that it is reproducible, and what an edit re-runs."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from checkouts import Checkout, copy_project
from tokenshift.config import load_study

pytestmark = pytest.mark.study

MODELS = {"problems", "corpus", "preflight", "pretrain", "sft", "rl", "vocabulary"}


def results(checkout: Checkout, *patterns: str) -> dict[str, Path]:
    folder = checkout.root / "results" / "tiny"
    return {str(file.relative_to(folder)): file for pattern in patterns for file in folder.rglob(pattern)}


def edit(file: Path, text: str = "\nEDITED = True\n") -> None:
    file.write_text(file.read_text() + text)


def test_every_table_and_figure_is_there(finished):
    tables = {file.stem for file in results(finished, "tables/*.csv").values()}
    assert tables >= {"sparsity", "evolution", "cross_sampling", "training", "claims"}
    for table in tables:
        for form in ("pdf", "png", "csv"):
            assert (finished.root / "results/tiny/figures" / f"{table}.{form}").stat().st_size > 0
        assert set(pl.read_csv(finished.root / f"results/tiny/tables/{table}.csv").columns) >= {
            "estimate",
            "ci_low",
            "ci_high",
        }


def test_a_sweep_ends_at_both_policies_own_rollouts(finished):
    study = load_study("tests/workflow/tiny.yaml", finished.root)
    own = {
        trajectory: pl.read_parquet(
            finished.root / f"results/tiny/rollouts/{getattr(study.pairs['dapo'], trajectory)}/heldout.parquet"
        )
        for trajectory in ("base", "tuned")
    }
    for direction, ends in (("forward", ("base", "tuned")), ("reverse", ("tuned", "base"))):
        for criterion in ("js", "random"):
            sweep = pl.read_parquet(
                finished.root / f"results/tiny/cross_samples/dapo/heldout/{direction}-{criterion}.parquet"
            )
            for threshold, trajectory in zip((float("inf"), -float("inf")), ends, strict=True):
                rows = sweep.filter(pl.col("threshold") == threshold).select(own[trajectory].columns)
                assert rows.equals(own[trajectory])


def test_nothing_is_planned_after_touching_every_file(finished):
    for file in finished.root.rglob("*"):
        if ".snakemake" not in file.parts:
            os.utime(file)
    assert finished.planned_rules() == set()


@pytest.mark.parametrize(
    ("edited", "target", "planned"),
    [
        ("workflow/scripts/figures/sparsity.py", "results/tiny/figures/sparsity.pdf", {"figure_sparsity"}),
        (
            "workflow/scripts/tables/sparsity.py",
            "results/tiny/figures/sparsity.pdf",
            {"table_sparsity", "figure_sparsity"},
        ),
        ("README.md", "all", set()),
        ("workflow/tokenshift/config/study.py", "all", set()),
    ],
)
def test_an_edit_plans_exactly_what_depends_on_it(finished, edited, target, planned):
    file = finished.root / edited
    before = file.read_text()
    edit(file)
    try:
        assert finished.planned_rules(target) == planned
    finally:
        file.write_text(before)


def test_editing_the_divergence_plans_scores_and_what_follows_but_no_training(finished):
    file = finished.root / "workflow/tokenshift/divergence.py"
    before = file.read_text()
    edit(file)
    try:
        planned = finished.planned_rules()
    finally:
        file.write_text(before)
    assert planned >= {"scores", "checkpoint_scores", "cross_samples", "table_sparsity", "figure_sparsity"}
    assert not planned & (MODELS | {"rollouts", "table_training"})


def test_a_second_clean_run_gives_the_same_bytes(finished, tmp_path):
    second = copy_project(tmp_path)
    assert second.snakemake().returncode == 0
    first_files, second_files = (results(run, "*.parquet", "*.csv", "*.safetensors") for run in (finished, second))
    assert first_files.keys() == second_files.keys()
    differing = [name for name, file in first_files.items() if file.read_bytes() != second_files[name].read_bytes()]
    assert differing == []
    shutil.rmtree(tmp_path / "results")


def test_shards_give_the_same_rows(finished, tmp_path):
    sharded = Checkout(tmp_path / "sharded")
    shutil.copytree(finished.root, sharded.root, symlinks=True)
    study = yaml.safe_load((sharded.root / "tests/workflow/tiny.yaml").read_text())
    file = tmp_path / "sharded.yaml"
    file.write_text(yaml.safe_dump({**study, "compute": {"shards": 3}}))
    names = ["rollouts/dapo-s1/heldout", "scores/dapo/heldout/tuned", "cross_samples/dapo/heldout/forward-js"]
    targets = [f"results/tiny/{name}.parquet" for name in names]
    for target in targets:
        (sharded.root / target).unlink()
    result = sharded.snakemake(*targets, "--config", f"study={file}")
    assert result.returncode == 0, result.stderr[-5000:]
    for target in targets:
        whole, gathered = (pl.read_parquet(checkout.root / target) for checkout in (finished, sharded))
        assert_frame_equal(whole, gathered, abs_tol=1e-5)


def test_the_report_is_made(finished):
    result = finished.snakemake("--report", "report.zip")
    assert result.returncode == 0, result.stderr
    assert (finished.root / "report.zip").stat().st_size > 100_000
