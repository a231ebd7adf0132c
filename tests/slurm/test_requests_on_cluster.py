"""What each rule asks of SLURM, seen from inside its jobs, with scripts that write down the GPUs they are given."""

import json
import re

import pytest
import yaml

from checkouts import ROOT

pytestmark = pytest.mark.study

# Writes to every output of the rule what the job sees; the outputs are the paths after --output...
WITNESS = """
import json, os, sys, time
from pathlib import Path
seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURMD_NODENAME")}
seen["rank"] = [os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")]
output = Path(sys.argv[sys.argv.index("--output") + 1])
if sys.argv[0].endswith("rl.py"):  # two of these are to be there at once
    Path(f"arrived-{seen['SLURM_JOB_ID']}").touch()
    until = time.monotonic() + 120
    while len(list(Path().glob("arrived-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.2)
if "--state" in sys.argv:
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{os.environ.get('RANK', 0)}.json").write_text(json.dumps(seen))
    output = output / "manifest.json"
if os.environ.get("RANK", "0") == "0":
    output.write_text(json.dumps(seen))
"""


def study(**compute) -> dict:
    tiny = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    return {**tiny, "compute": {"device": "cuda", "dtype": "bfloat16", **compute}}


def prepare(project, given: dict) -> None:
    for script in ("problems", "corpus", "preflight", "pretrain", "rl", "rollouts", "vocabulary", "gather"):
        (project.root / f"workflow/scripts/{script}.py").write_text(WITNESS)
    (project.root / "config/config.yaml").write_text("study: given.yaml\n")
    (project.root / "given.yaml").write_text(yaml.safe_dump(given))


def seen(project, name: str) -> dict:
    return json.loads((project.root / "results/tiny" / name).read_text())


def test_each_job_sees_the_gpus_it_asked_for_and_no_others(cluster, project):
    prepare(project, study(gpus=2))
    targets = [f"rollouts/{model}/heldout.parquet" for model in ("base", "dapo-s1", "dapo-s2")]
    result = project.run_eagerly(*(f"results/tiny/{target}" for target in targets))
    assert result.returncode == 0, result.stdout[-5000:]
    assert seen(project, "corpora/mixture.parquet")["CUDA_VISIBLE_DEVICES"] is None
    at_once = [seen(project, f"models/{model}/0.json") for model in ("dapo-s1", "dapo-s2")]
    masks = {(job["SLURMD_NODENAME"], mask) for job in at_once for mask in job["CUDA_VISIBLE_DEVICES"].split(",")}
    assert len(masks) == 4
    assert all(len(seen(project, target)["CUDA_VISIBLE_DEVICES"].split(",")) == 2 for target in targets)


def test_jobs_of_one_rule_that_are_ready_together_are_one_array(cluster, project):
    prepare(project, study(gpus=1, shards=4))
    result = project.run_eagerly("results/tiny/rollouts/base/heldout.parquet")
    assert result.returncode == 0, result.stdout[-5000:]
    arrays = re.findall(r"Submitted array job with Snakemake IDs ([\d,]+) and SLURM job ID \d+", project.full_log())
    assert [len(ids.split(",")) for ids in arrays] == [4]


def test_training_on_two_nodes_has_a_process_for_each_gpu(cluster, project):
    prepare(project, study(gpus=2, nodes=2))
    result = project.run_eagerly("results/tiny/models/base/manifest.json")
    assert result.returncode == 0, result.stdout[-5000:]
    processes = [seen(project, f"models/base/{rank}.json") for rank in range(4)]
    assert [process["SLURMD_NODENAME"] for process in processes] == ["n1"] * 2 + ["n2"] * 2
    assert [process["rank"] for process in processes] == [[str(i), str(i % 2), "4"] for i in range(4)]
    assert {process["CUDA_VISIBLE_DEVICES"] for process in processes} == {"0,1"}
