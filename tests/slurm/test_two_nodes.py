"""Training over two nodes of the test cluster, started as the rules start it: one process's model, and resumable."""

import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import clusters
from checkouts import ROOT
from clusters import jobs, kill, processes_of_job, slurm
from tiny_training import file_bytes
from tokenshift.artifacts import write_parquet
from tokenshift.cluster.resources import launcher
from tokenshift.config.compute import Compute, Hardware
from tokenshift.config.models import Pretrain
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import PretrainSpec
from tokenshift.schemas import CORPUS

pytestmark = pytest.mark.study

STEPS = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "sums.parquet"
    sums = [(a, b) for a in range(1, 6) for b in range(1, 6)]
    rows = {
        "problem_id": [f"{a}-{b}" for a, b in sums],
        "problem": [f"{a} + {b}" for a, b in sums],
        "solution": [f"\\boxed{{{a + b}}}" for a, b in sums],
        "manner": ["guess"] * len(sums),
    }
    write_parquet(file, pl.DataFrame(rows).to_arrow(), CORPUS, {}, ())
    return file


def command(folder: Path, corpus: Path, nodes: int) -> str:
    """The training script after its launcher, as in the rules."""
    architecture = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    settings = Pretrain(
        corpus="sums", steps=STEPS, save_every=2, batch_size=8, learning_rate=3e-3, architecture=architecture
    )
    prompt = Prompt(template="{problem}=", chat=False)
    spec = PretrainSpec(code="", environment="", pretrain=settings, seed=3, prompt=prompt, compute=Hardware())
    (folder / "spec.json").write_text(json.dumps(spec.plain()))
    return (
        f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={ROOT}/workflow SCRIPTS={ROOT}/workflow/scripts"
        " OMP_NUM_THREADS=1; "
        f'{launcher(Compute(nodes=nodes), 0, 1)} $SCRIPTS/pretrain.py --spec "$(cat spec.json)" --corpus {corpus}'
        " --state state --output model"
    )


def submit(folder: Path, command: str) -> None:
    geometry = ["--nodes=2", "--ntasks-per-node=2", "--mem=2000", "--no-requeue"]
    sbatch = ["sbatch", *geometry, f"--output={folder}/log", "--open-mode=append", "-D", folder, "--wrap", command]
    subprocess.run(sbatch, check=True, capture_output=True)


def await_end(folder: Path) -> None:
    until = time.monotonic() + 300
    while jobs(folder):
        assert time.monotonic() < until, (folder / "log").read_text()[-3000:]
        time.sleep(0.2)


def steps_done(folder: Path) -> int:
    return max((len(file.read_text().splitlines()) for file in folder.glob("state/*/model/metrics.jsonl")), default=0)


@pytest.fixture(scope="module")
def two_nodes(cluster, corpus, tmp_path_factory) -> Path:
    """The model trained on two nodes without disturbance."""
    folder = tmp_path_factory.mktemp("two")
    submit(folder, command(folder, corpus, nodes=2))
    await_end(folder)
    assert (folder / "model/manifest.json").is_file(), (folder / "log").read_text()[-3000:]
    return folder


def test_two_nodes_train_the_model_of_one(two_nodes, corpus, tmp_path):
    subprocess.run(["bash", "-c", command(tmp_path, corpus, nodes=1)], cwd=tmp_path, check=True, capture_output=True)
    one, two = (load_file(folder / "model/model.safetensors") for folder in (tmp_path, two_nodes))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)


def test_training_goes_on_after_a_node_was_lost(two_nodes, corpus, tmp_path):
    submit(tmp_path, command(tmp_path, corpus, nodes=2))
    while steps_done(tmp_path) < 5:
        assert jobs(tmp_path), (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.05)
    (job,) = jobs(tmp_path)
    kill(clusters.daemon("n2"))
    for process in processes_of_job(job.id, "n2"):
        kill(process)
    clusters.cluster("node", "n2")
    if jobs(tmp_path):
        slurm("scancel", job.id)
    await_end(tmp_path)
    assert not (tmp_path / "model").exists()
    states = tmp_path.glob("state/*/step-*/state.json")
    saved = max(json.loads(file.read_text())["position"]["step"] for file in states)
    assert 4 <= saved < STEPS
    submit(tmp_path, command(tmp_path, corpus, nodes=2))
    await_end(tmp_path)
    assert file_bytes(tmp_path / "model") == file_bytes(two_nodes / "model"), (tmp_path / "log").read_text()[-3000:]
    timed = next(tmp_path.glob("state/*/times.jsonl")).read_text().splitlines()
    assert len(timed) < STEPS + saved  # only what came after the saved step was done twice
