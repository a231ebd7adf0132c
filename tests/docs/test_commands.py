"""Every command that README and docs show is run here, on the finished tiny study, or is known to be run elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BEGINS = ("make ", "snakemake ", "export ", "cd ", "python ")

# What is run by other tests, or by whoever runs these.
ELSEWHERE = {
    "make study": "the tiny study is run by tests/workflow; the default one by whoever follows the README",
    "make test": "this is it",
    "make .venv/installed": "done before any test",
    "make new STUDY=my-pair BASE=... TUNED=... DATA=...": "tests/workflow/test_pairs.py",
    "snakemake --profile slurm": "tests/slurm",
    "export SBATCH_ACCOUNT=... SBATCH_PARTITION=...": "tests/slurm",
    "snakemake --profile slurm --unlock": "tests/slurm",
    "snakemake FILE": "FILE is any result: tests/workflow",
    "make compare": "with STUDIES below",
    "make config": "tests/config/test_documentation.py",
    "make fast-test": "a part of make test",
    "make vllm": "another environment, and make test-vllm tests it",
    "make test-vllm": "ten minutes, with that environment",
    "make drill": "an hour; benchmarks/drill.md is its result",
    "make gpu": "needs a GPU; tests/test_gpu_benchmark.py rehearses it",
    "cd viewer && npm ci && npm run build": "tests/viewer",
    "snakemake --cores 2 --config study=smollm2": "an hour and a half; docs/smollm2 is its result",
}
# What is run here, with the names of the tiny study in the place of those that a page invents.
NAMES = {
    "STUDY=my-pair": "STUDY=tests/workflow/tiny.yaml",
    "study=my-pair": "study=tests/workflow/tiny.yaml",
    "STUDY=name": "STUDY=tests/workflow/tiny.yaml",
    "TO=docs/my-pair": "TO=published",
    "TO=folder": "TO=published-too",
    '"miniature my-pair"': '"tiny other"',
    "--cores all": "--cores 1",
}


def shown(page: str) -> list[str]:
    """Lines of the blocks without a language, indented lines, and words in backticks."""
    lines, inside = [], None
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line[3:] or "commands" if inside is None else None
        elif inside == "commands":
            lines.append(line)
        elif inside is None:
            lines += [line.strip()] if line.startswith("    ") else re.findall(r"`([^`]+)`", line)
    return lines


def commands() -> list[str]:
    """The commands on all pages, without comments, each once."""
    found = [re.split(r"\s+# ", line)[0].strip() for page in PAGES for line in shown(page.read_text())]
    return list(dict.fromkeys(command for command in found if command.startswith(BEGINS)))


HERE = [command for command in commands() if command not in ELSEWHERE]


def test_pages_show_commands_and_all_that_are_run_elsewhere():
    assert len(HERE) > 8
    assert set(ELSEWHERE) <= set(commands())


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """A copy of the finished tiny study, as the study of config.yaml, beside another of the same claims."""
    root = tmp_path_factory.mktemp("commands") / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    (root / "config/config.yaml").write_text("study: tests/workflow/tiny.yaml\n")
    (root / ".venv").mkdir()
    (root / ".venv/installed").touch()
    other = root / "results/other/tables"
    other.mkdir(parents=True)
    shutil.copy(root / "results/tiny/tables/claims.csv", other)
    return root


@pytest.mark.study
@pytest.mark.parametrize("command", HERE)
def test_a_command_works(project, command):
    for name, own in NAMES.items():
        command = command.replace(name, own)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CORES": "1",
        "PYTHONPATH": str(project / "workflow"),
    }
    done = subprocess.run(
        command, shell=True, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
