from dataclasses import replace

import pytest

from tokenshift.errors import StudyError
from tokenshift.provenance.plan import Job, figure_files, options

JOB = Job(
    "scores",
    ("r/models/base/manifest.json", "r/vocabularies/dapo.parquet", "r/rollouts/base/heldout.parquet"),
    ("r/scores/dapo/heldout/base.parquet",),
    'python $SCRIPTS/score.py --spec \'{"text": "it is --x 2> y"}\' --base $(dirname r/models/base/manifest.json)'
    " --responses r/rollouts/base/heldout.parquet --shard 0 1 --output r/scores/dapo/heldout/base.parquet"
    " 2> r/logs/x.log",
)


def test_the_command_of_a_job_is_taken_apart():
    assert JOB.script == "workflow/scripts/score.py"
    assert JOB.spec == {"text": "it is --x 2> y"}
    assert JOB.arguments["--base"] == ["r/models/base"]
    assert JOB.arguments["--shard"] == ["0", "1"]
    assert JOB.arguments["--output"] == ["r/scores/dapo/heldout/base.parquet"]


def test_inputs_that_the_script_does_not_read_are_told_from_those_it_reads():
    assert JOB.read == ["r/models/base/manifest.json", "r/rollouts/base/heldout.parquet"]


def test_options_of_a_launcher_are_not_those_of_the_script():
    launcher = "srun -N2 --ntasks-per-node=1 python $SCRIPTS/launch.py"
    launched = replace(JOB, command=f"{launcher} {JOB.command.removeprefix('python ')}")
    assert launched.arguments == JOB.arguments
    assert launched.script == JOB.script


def test_a_rule_without_a_script():
    assert Job("preflight", (), ("r/preflight.done",), "true 2> log").script is None


def test_options_with_no_one_and_several_values():
    assert options(["--local_rank=0", "--a", "1", "-2", "--b", "--c", "x"]) == {
        "--local_rank": ["0"],
        "--a": ["1", "-2"],
        "--b": [],
        "--c": ["x"],
    }


def test_an_unknown_figure_is_refused_with_the_nearest():
    assert figure_files("mine", "sparsity")[0] == "results/mine/figures/sparsity.pdf"
    with pytest.raises(StudyError, match=r"no figure 'sparsty' .did you mean 'sparsity'"):
        figure_files("mine", "sparsty")
