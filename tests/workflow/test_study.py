"""The tiny study, end to end through Snakemake: what it makes, that it is reproducible, and what an edit re-runs."""

import os
import shutil

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

import clusters
from checkouts import Checkout, copy_project
from clusters import Project
from tokenshift.config.loading import load_study
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.plan import whole_plan

pytestmark = pytest.mark.study


def test_every_table_and_figure_is_there(finished):
    tables = {file.stem for file in (finished.root / "results/tiny/tables").glob("*.csv")}
    assert tables >= {"sparsity", "evolution", "cross_sampling", "training", "claims"}
    for table in tables:
        for form in ("pdf", "png", "csv"):
            assert (finished.root / "results/tiny/figures" / f"{table}.{form}").stat().st_size > 0
        assert set(pl.read_csv(finished.root / f"results/tiny/tables/{table}.csv").columns) >= {
            "estimate",
            "ci_low",
            "ci_high",
        }


def test_no_temporary_file_is_left(finished):
    assert list((finished.root / "results").rglob(".*.tmp*")) == []


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
                assert rows.equals(own[trajectory].filter(pl.col("sample") < study.cross_sampling.samples))


def test_nothing_is_planned_after_touching_every_file(finished):
    for file in finished.root.rglob("*"):
        if ".snakemake" not in file.parts:
            os.utime(file)
    assert finished.planned_rules() == set()


DATA = {"problems", "corpus", "preflight"}
SCORING = {"scores", "checkpoint_scores", "cross_samples", "cross_samples_random"}
BASE_MODELS = {"pretrain", "sft"}


def tables_and_figures(*names: str) -> set[str]:
    return {f"{kind}_{name}" for name in names for kind in ("table", "figure")}


WITHOUT_SCORES = tables_and_figures("training", "training_curves")  # made from rollouts or from models alone


@pytest.fixture(scope="module")
def every_rule(finished) -> set[str]:
    return finished.planned_rules("--forceall")


def analysis(rules: set[str]) -> set[str]:
    """The rules of tables and figures among `rules`."""
    return {rule for rule in rules if rule.startswith(("table_", "figure_"))}


TINY = "tests/workflow/tiny.yaml"
# What is edited (by default a line is added), how, and the rules that are planned, given all rules of the study.
TRIGGERS = {
    "the script of a figure": ("workflow/scripts/figures/sparsity.py", None, lambda _: {"figure_sparsity"}),
    "the script of a table": (
        "workflow/scripts/tables/sparsity.py",
        None,
        lambda _: tables_and_figures("sparsity") | {"figure_1"},
    ),
    "a module of some figures": (
        "workflow/tokenshift/figures/sweeps.py",
        None,
        lambda _: {
            "figure_1",
            "figure_cross_sampling",
            "figure_recovered_gain",
            "figure_budget_frontier",
            "figure_replacement_positions",
        },
    ),
    "a module of all figures": (
        "workflow/tokenshift/figures/style.py",
        None,
        lambda rules: {rule for rule in rules if rule.startswith("figure_")},
    ),
    "the divergence": (
        "workflow/tokenshift/distributions/divergence.py",
        None,
        lambda rules: SCORING | {"viewer"} | analysis(rules) - WITHOUT_SCORES,
    ),
    "the objective of RL": (
        "workflow/tokenshift/rl/objective.py",
        None,
        lambda rules: rules - DATA - BASE_MODELS,
    ),
    "the module that reports progress": ("workflow/tokenshift/progress.py", None, lambda _: set()),
    "the module that writes records": ("workflow/tokenshift/provenance/records.py", None, lambda _: set()),
    "the study's bootstrap": (
        TINY,
        ("replicates: 100", "replicates: 101"),
        lambda rules: analysis(rules) - tables_and_figures("training_curves"),
    ),
    "what claim C6 calls confident": (
        TINY,
        ("identity_minimum: 2", "identity_minimum: 2\n  claims: {low_entropy: 0.4}"),
        lambda _: tables_and_figures("entropy_by_js", "claims"),
    ),
    "the budget of claims C11 to C13": (
        TINY,
        ("identity_minimum: 2", "identity_minimum: 2\n  claims: {budget: 0.2}"),
        lambda _: tables_and_figures("replacement_positions", "claims"),
    ),
    "what counts as high JS": (
        TINY,
        ("identity_minimum: 2", "identity_minimum: 2\n  high: 0.2"),
        lambda rules: (
            {"viewer"} | analysis(rules) - WITHOUT_SCORES - tables_and_figures("cross_sampling", "recovered_gain")
        ),
    ),
    "the study's top-k": (
        TINY,
        ("scoring:\n", "scoring:\n  top_k: 11\n"),
        lambda rules: SCORING | {"viewer"} | analysis(rules) - WITHOUT_SCORES,
    ),
    "one model's learning rate": (
        TINY,
        ("{<<: *run, weight", "{<<: *run, learning_rate: 2.0e-3, weight"),
        lambda _: {"rl", "rollouts"} | tables_and_figures("training", "training_curves", "position_profile", "claims"),
    ),
    "an environment": (
        "envs/analysis.yaml",
        ("python =3.11", "python =3.12"),
        lambda rules: {"viewer"} | analysis(rules),
    ),
    "the README": ("README.md", None, lambda _: set()),
    "the defaults of the study file": ("workflow/tokenshift/config/measurements.py", None, lambda _: set()),
}


@pytest.mark.parametrize(("edited", "change", "expected"), TRIGGERS.values(), ids=TRIGGERS.keys())
def test_an_edit_plans_exactly_what_depends_on_it(finished, every_rule, edited, change, expected):
    file = finished.root / edited
    before = file.read_text()
    after = before + "\nEDITED = True\n" if change is None else before.replace(*change)
    assert after != before
    file.write_text(after)
    try:
        assert finished.planned_rules() == expected(every_rule)
    finally:
        file.write_text(before)


def test_the_content_of_a_data_file_is_what_triggers_not_its_date(checkout, tmp_path):
    data, file = tmp_path / "problems.jsonl", tmp_path / "study.yaml"
    data.write_text('{"problem_id": "a", "problem": "1 + 1", "answer": "2"}\n')
    study = yaml.safe_load((checkout.root / TINY).read_text())
    file.write_text(
        yaml.safe_dump(
            {**study, "name": "given", "problems": {**study["problems"], "given": {"jsonl": {"path": str(data)}}}}
        )
    )
    target = ("results/given/problems/given.parquet", "--config", f"study={file}")
    made = checkout.snakemake(*target)
    assert made.returncode == 0, made.stderr
    os.utime(data)
    assert checkout.planned_rules(*target) == set()
    data.write_text(data.read_text().replace('"2"', '"3"'))
    assert checkout.planned_rules(*target) == {"problems"}


@pytest.mark.skipif(clusters.obstacle() is None, reason="the run on a cluster is the second run: test_tiny_study.py")
def test_a_second_clean_run_gives_the_same_bytes(finished, tmp_path):
    second = copy_project(tmp_path)
    assert second.snakemake().returncode == 0
    assert Project(second.root).files("tiny") == Project(finished.root).files("tiny")


def test_shards_give_the_same_rows(finished, tmp_path):
    sharded = Checkout(tmp_path / "sharded")
    shutil.copytree(finished.root, sharded.root, symlinks=True)
    study = yaml.safe_load((sharded.root / "tests/workflow/tiny.yaml").read_text())
    file = tmp_path / "sharded.yaml"
    file.write_text(yaml.safe_dump({**study, "compute": {"shards": 2}}))
    names = ["rollouts/dapo-s1/heldout", "scores/dapo/heldout/tuned", "cross_samples/dapo/heldout/forward-js"]
    targets = [f"results/tiny/{name}.parquet" for name in names]
    for target in targets:
        (sharded.root / target).unlink()
    result = sharded.snakemake(*targets, "--config", f"study={file}")
    assert result.returncode == 0, result.stderr[-5000:]
    for target in targets:
        whole, gathered = (pl.read_parquet(checkout.root / target) for checkout in (finished, sharded))
        assert_frame_equal(whole, gathered)
    assert audit(whole_plan(sharded.root, str(file), *targets), sharded.root, Hashes()).breaks == []


def test_the_report_is_made(finished):
    result = finished.snakemake("--report", "report.zip")
    assert result.returncode == 0, result.stderr
    assert (finished.root / "report.zip").stat().st_size > 100_000
