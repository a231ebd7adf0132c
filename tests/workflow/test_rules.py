"""Properties of the rules that hold without running them."""

import os
import re
import subprocess
import sys
import time

import pytest

from checkouts import ROOT, copy_project
from tokenshift.provenance.hashes import file_hash

SCRIPTS = ROOT / "workflow/scripts"
LIGHT = sorted(
    [
        SCRIPTS / "problems.py",
        SCRIPTS / "corpus.py",
        SCRIPTS / "viewer.py",
        *SCRIPTS.glob("tables/*.py"),
        *SCRIPTS.glob("figures/*.py"),
    ]
)


# Imports, in a process of its own, what each script imports, and prints the names of those that load a model's library.
# What all of them need is imported once before.
IMPORTS = """
import os, runpy, sys
import matplotlib.pyplot, polars, pyarrow, pydantic, scipy.stats, seaborn
assert not {"torch", "transformers"} & set(sys.modules)
for script in sys.argv[1:]:
    if os.fork() == 0:
        runpy.run_path(script)
        if {"torch", "transformers"} & set(sys.modules):
            print(script)
        sys.stdout.flush()
        os._exit(0)
    _, status = os.wait()
    assert status == 0, script
"""


def test_scripts_of_the_data_and_analysis_stacks_import_no_torch():
    command = [sys.executable, "-c", IMPORTS, *map(str, LIGHT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


# Directives in the order in which every rule has those that it needs.
DIRECTIVES = (
    "name input output log benchmark priority group wildcard_constraints conda threads resources params message shell"
)
ON_THIS_HOST = {"preflight", "audit", "audit_page"}  # localrules


def directives_of_rules() -> dict[str, list[str]]:
    """The directives of each rule of workflow/rules, in order; a rule in a loop is called by its file."""
    of_rules = {}
    for file in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.findall(r"^( *)rule( \w+)?:\n((?:\1    .*\n|\n)+)", file.read_text(), re.MULTILINE):
            indent, name, body = block
            given = re.findall(rf"^{indent}    (\w+):", body, re.MULTILINE)
            of_rules[name.strip() or file.stem] = given
    return of_rules


def test_every_rule_has_its_directives_in_one_order():
    order, of_rules = DIRECTIVES.split(), directives_of_rules()
    assert {"problems", "rl", "scores", "gather", "tables", "figures", "audit"} <= of_rules.keys()
    for rule, given in of_rules.items():
        assert given == [directive for directive in order if directive in given], rule
        needed = {"log", "conda", "message", "shell"}
        needed |= set() if rule in ON_THIS_HOST else {"output", "benchmark", "resources", "params"}
        assert needed <= set(given), rule


def test_what_scripts_print_goes_to_the_log_alone():
    rules = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    assert len(re.findall(r" 2> \{log\}\"$", rules, re.MULTILINE)) == len(directives_of_rules())


def test_every_figure_has_a_rule_a_script_and_a_caption():
    rules = (ROOT / "workflow/rules/figures.smk").read_text()
    figures = {"figure_1", *re.findall(r'^    "(\w+)": "', rules, re.MULTILINE)}
    assert figures == {script.stem for script in (SCRIPTS / "figures").glob("*.py")}
    assert figures <= {caption.stem for caption in (ROOT / "workflow/report").glob("*.rst")}


@pytest.mark.study
@pytest.mark.parametrize("profile", ["profiles/default", "slurm"])
def test_the_default_study_can_be_planned_under_each_profile(checkout, profile):
    planned = checkout.planned_rules("--config", "study=miniature", "--profile", profile)
    assert planned >= {"problems", "pretrain", "rl", "scores", "cross_samples", "table_claims", "figure_claims"}


@pytest.mark.study
def test_the_published_setting_is_planned_within_20_seconds(checkout):
    before = os.times()
    result = checkout.snakemake("--dry-run", "--quiet", "all", "--config", "study=paper")
    after = os.times()
    assert result.returncode == 0, result.stdout
    assert int(re.search(r"^total +(\d+)$", result.stdout, re.MULTILINE)[1]) > 1000
    # Of the processor: the time on the clock is that of whatever else the machine does.
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 20


@pytest.mark.study
@pytest.mark.parametrize("study", sorted(file.stem for file in (ROOT / "config/studies").glob("*.yaml")))
def test_every_study_of_the_repository_can_be_planned(checkout, study):
    planned = checkout.planned_rules("--config", f"study={study}")
    assert planned >= {"problems", "rollouts", "scores", "table_claims", "figure_claims"}
    assert study != "olmo3-rl-zero" or "checkpoint_scores" in planned


@pytest.mark.study
def test_rollouts_by_vllm_have_a_script_and_an_environment_of_their_own(checkout):
    study = (checkout.root / "tests/workflow/tiny.yaml").read_text()
    by_vllm = study.replace("evaluation:\n", "evaluation:\n  engine: vllm\n").replace("name: tiny", "name: by-vllm")
    assert by_vllm.count("engine: vllm") == 1
    (checkout.root / "config/studies/by-vllm.yaml").write_text(by_vllm)
    planned = checkout.snakemake("--dry-run", "--printshellcmds", "--config", "study=by-vllm")
    assert planned.returncode == 0, planned.stderr
    commands = re.findall(r"(\S+) \$SCRIPTS/(rollouts\w*\.py) ", planned.stdout)
    assert {script for _, script in commands} == {"rollouts_vllm.py"}
    assert all(python == "python" for python, _ in commands)  # there is no .venv-vllm in the checkout
    assert '"engine": "vllm"' in planned.stdout


@pytest.mark.study
def test_training_with_vllm_is_in_its_environment_for_all_rl_models(checkout):
    study = (checkout.root / "tests/workflow/tiny.yaml").read_text()
    with_vllm = study.replace("rl: {<<: *run, weight", "rl: {<<: *run, engine: vllm, weight").replace(
        "name: tiny", "name: new"
    )
    assert with_vllm.count("engine: vllm") == 1
    (checkout.root / "config/studies/new.yaml").write_text(with_vllm)
    planned = checkout.snakemake("--dry-run", "--printshellcmds", "--config", "study=new")
    assert planned.returncode == 0, planned.stderr
    stacks = {stack: file_hash(checkout.root / f"envs/{stack}.yaml") for stack in ("vllm", "training")}
    environments = {}
    for script, environment in re.findall(
        r"(rl|sft|pretrain)\.py --spec .*?\"environment\": \"(\w+)\"", planned.stdout
    ):
        environments.setdefault(script, []).append(environment)
    assert environments == {
        "rl": 4 * [stacks["vllm"]],
        "sft": [stacks["training"]],
        "pretrain": [stacks["training"]],
    }


def test_no_command_depends_on_how_many_cores_a_run_was_given():
    """Snakemake lowers `threads` to the cores there are: scripts take theirs from the study, through the spec."""
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        assert "{threads}" not in file.read_text()


@pytest.mark.study
def test_a_new_study_can_be_planned_and_is_not_overwritten(checkout):
    (checkout.root / "data").mkdir()
    (checkout.root / "data/mine.jsonl").write_text('{"problem_id": "a", "problem": "1 + 1", "answer": "2"}\n')
    command = [sys.executable, "workflow/scripts/new_study.py", "--name", "mine"]
    command += ["--base", "a/base", "--tuned", "b/tuned"]
    environment = {**os.environ, "PYTHONPATH": "workflow"}
    where = {"cwd": checkout.root, "env": environment, "capture_output": True, "text": True, "check": False}
    made = subprocess.run([*command, "--data", "data/mine.jsonl"], **where)
    assert made.returncode == 0, made.stderr
    assert checkout.planned_rules("--config", "study=mine") >= {"rollouts", "scores", "cross_samples"}
    again = subprocess.run(command, **where)
    assert "config/studies/mine.yaml is there already" in again.stderr


@pytest.mark.study
def test_what_is_missing_is_made_though_the_check_before_it_is_made_again(tmp_path):
    """Models and rollouts take the check's file as ancient: a rerun of the check reruns none, and hides none."""
    project = copy_project(tmp_path / "project")
    results = project.root / "results/tiny"
    files = ["problems/heldout.parquet", "problems/train.parquet", "corpora/mixture.parquet", "corpora/careful.parquet"]
    for age, name in enumerate([*files, "preflight.json", "models/base/manifest.json"], start=-10):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("{}")
        os.utime(results / name, (time.time() + age,) * 2)
    for again in ((), ("--forcerun", "preflight", "--")):
        planned = project.planned_rules(*again)
        assert {"sft", "rl", "rollouts", "scores", "figure_claims"} <= planned
        assert "pretrain" not in planned
    assert "preflight" in planned
