"""One figure made again: from what is there, or in a clean folder to compare its bytes with the published ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tokenshift.config.study import Study
from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import file_hash
from tokenshift.provenance.plan import Job, figure_files, plan, whole_plan
from tokenshift.provenance.records import record_path

PROJECT = ("Snakefile", "config", "envs", "profiles", "requirements.lock", "workflow")
MODEL_STACKS = ("inference", "training", "vllm")


def model_jobs(jobs: Iterable[Job], root: Path) -> list[Job]:
    """Those of `jobs` that run models: their environment is that of inference, training or vLLM."""
    stacks = {file_hash(root / "envs" / f"{stack}.yaml") for stack in MODEL_STACKS}
    return [job for job in jobs if job.spec.get("environment") in stacks]


def rebuild(root: Path, study_file: str, study: Study, figure: str, cores: int) -> None:
    """Make a figure's files again, with its table where that is missing or out of date.

    Raises StudyError, with the list, when that would run a model.
    """
    targets = figure_files(study.name, figure)
    again = ["--forcerun", *targets, "--", *targets]
    heavy = model_jobs(plan(root, study_file, *again), root)
    if heavy:
        listed = "\n".join(f"  {job.rule}: {' '.join(job.outputs)}" for job in heavy)
        raise StudyError(
            f"figure {figure} cannot be made from what is there: {len(heavy)} jobs that run models come first:\n"
            f"{listed}\nrun them with `snakemake {targets[0]}`"
        )
    run_snakemake(root, study_file, cores, *again)


def rebuild_from_scratch(root: Path, study_file: str, study: Study, figure: str, cores: int, folder: Path) -> list[str]:
    """Make a figure and its tables again in `folder`, a clean copy of the project; what differs from `root`, in words.

    The tables' inputs are links. Raises StudyError when one, or a file to compare with, is missing.
    """
    targets = figure_files(study.name, figure)
    makers = {output: job for job in whole_plan(root, study_file, *targets) for output in job.outputs}
    tables = makers[targets[0]].inputs
    compared = [*tables, *targets]
    inputs = list(dict.fromkeys(path for table in tables for path in makers[table].inputs))
    missing = [path for path in (*compared, *inputs) if not (root / path).is_file()]
    if missing:
        raise StudyError(f"figure {figure} cannot be compared: {missing[0]} is missing; make it with `snakemake`")
    for name in PROJECT:
        source = root / name
        shutil.copytree(source, folder / name, ignore=_NO_CACHES) if source.is_dir() else shutil.copy2(source, folder)
    records = [str(record_path(path)) for path in inputs if record_path(root / path).is_file()]
    for path in [*inputs, *records, *local_sources(study)]:
        _link(root / path, folder / path)
    if (root / study_file).is_file() and not (folder / study_file).exists():
        _link(root / study_file, folder / study_file)
    rules = [*(makers[table].rule for table in tables), makers[targets[0]].rule]
    run_snakemake(folder, study_file, cores, "--allowed-rules", *rules, "--", *targets)
    differences = (difference(root / path, folder / path, path) for path in compared)
    return [words for words in differences if words]


def difference(published: Path, made: Path, name: str) -> str | None:
    """Where two files first differ, in words; none where their bytes are equal."""
    old, new = published.read_bytes(), made.read_bytes()
    if old == new:
        return None
    same = next(
        (i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )
    line = old.count(b"\n", 0, same) + 1
    return f"{name}: {len(new)} bytes, published {len(old)}; they first differ at byte {same}, line {line}"


def local_sources(study: Study) -> list[str]:
    """Files within the project that problem sets and corpora are read from."""
    sources = [entry.jsonl or entry.datasets for entry in (*study.problems.values(), *study.corpora.values())]
    return [source.path for source in sources if source and Path(source.path).is_file() and source.path[0] != "/"]


def run_snakemake(root: Path, study_file: str, cores: int, *arguments: str) -> None:
    """Run Snakemake in the project at `root`. Raises StudyError when it fails."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all"]
    command += ["--config", f"study={study_file}", *arguments]
    # Its log is on stderr; on stdout are the closing words of a study, of which this is a part only.
    failed = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=False).returncode
    if failed:
        raise StudyError(f"Snakemake ended with status {failed}; its messages are above")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(source.resolve(), target)


_NO_CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info")
