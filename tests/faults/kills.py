"""The tiny study, killed again and again at random moments, against the same study left alone.

    PYTHONPATH=workflow:tests/workflow python tests/faults/kills.py [--seed N] [--folder F] > table.md

Main processes, jobs and both together are killed (-9), interrupted as by Ctrl-C, or asked to end. Every table, figure's
CSV and model must come out with the same bytes; no step of training that was saved is taken twice; no temporary file
stays.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

from checkouts import ROOT, copy_project

NAME = "kills"
STRIKES = {
    "kill -9 of the main process": 7,
    "kill -9 of a job": 7,
    "kill -9 of everything": 6,
    "Ctrl-C": 5,
    "SIGTERM to the main process": 5,
}


def write_study(root: Path) -> None:
    """The tiny study with so short intervals between saves that every training run is cut within."""
    study = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text()) | {"name": NAME}
    study["models"]["base"]["pretrain"]["save_every"] = 5
    study["models"]["sft"]["sft"] |= {"save_every": 1, "steps": 12}
    for name in ("dapo", "dapo-high-kl"):
        study["models"][name]["rl"] |= {"save_every": 1, "steps": 6, "checkpoint_every": 3}
    (root / f"config/studies/{NAME}.yaml").write_text(yaml.safe_dump(study))


class Run:
    """Snakemake on the study in a copy of the project, with all that it starts."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", f"study={NAME}"]
        subprocess.run([*command, "--unlock"], cwd=root, capture_output=True, check=True)
        self.log = open(root / "main.log", "a")  # noqa: SIM115 (the process keeps it)
        self.process = subprocess.Popen(
            command, cwd=root, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def jobs(self) -> list[psutil.Process]:
        """The scripts that run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [process for process in below if "workflow/scripts/" in " ".join(_command(process))]
        return []

    def strike(self, how: str) -> str:
        """Do it; says what was struck."""
        jobs = self.jobs()
        struck = ", ".join(sorted({Path(word).name for job in jobs for word in _command(job) if word.endswith(".py")}))
        if how == "kill -9 of a job" and jobs:
            _send(jobs[0].pid, signal.SIGKILL)
        elif how == "Ctrl-C":
            os.killpg(self.process.pid, signal.SIGINT)
        elif how == "SIGTERM to the main process":
            _send(self.process.pid, signal.SIGTERM)
        elif how == "kill -9 of everything":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            _send(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(90)
        return struck or "no job"


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def results(root: Path) -> dict[str, bytes]:
    """Every Parquet, CSV and model file."""
    folder = root / "results" / NAME
    found = [file for kind in ("*.parquet", "*.csv", "*.safetensors") for file in folder.rglob(kind)]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in found
        if "training_state" not in file.parts and ".tmp" not in file.name
    }


def steps(root: Path) -> dict[str, list[int]]:
    """The steps that each training run has taken, in order, repeated ones included."""
    taken = {}
    for file in sorted((root / "results" / NAME / "training_state").glob("*/*/times.jsonl")):
        with contextlib.suppress(ValueError):  # a last line cut short
            taken[file.parent.parent.name] = [json.loads(line)["step"] for line in file.read_text().splitlines()]
    return taken


def finished(root: Path) -> dict[str, list[int]]:
    """Those of the runs whose model is complete."""
    states = root / "results" / NAME / "training_state"
    return {name: taken for name, taken in steps(root).items() if list((states / name).glob("*/finished.json"))}


def whole_run(root: Path) -> None:
    """Run the study to its end."""
    status = Run(root).process.wait()
    if status:
        sys.exit(f"a run that was left alone ended with status {status}: see {root}/main.log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    folder = args.folder or Path(tempfile.mkdtemp())
    whole, struck = (copy_project(folder / name).root for name in ("whole", "struck"))
    for root in (whole, struck):
        write_study(root)
    began = time.monotonic()
    whole_run(whole)
    seconds = time.monotonic() - began
    expected, faults = results(whole), []
    strikes = [how for how, count in STRIKES.items() for _ in range(count)]
    rng.shuffle(strikes)
    print("| | Strike | After | Struck | Steps taken so far |\n| --- | --- | --- | --- | --- |")
    complete: dict[str, list[int]] = {}
    for number, how in enumerate(strikes, start=1):
        run, wait = Run(struck), rng.uniform(2, seconds / 8)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(wait)
        if run.process.returncode == 0:
            faults += compared(expected, struck, complete)
            print("| | the study ended | | | all files compared, then deleted |")
            shutil.rmtree(struck / "results")
            complete, run = {}, Run(struck)
            time.sleep(rng.uniform(5, 20))
        what = run.strike(how)
        complete |= finished(struck)
        taken = sum(map(len, steps(struck).values()))
        print(f"| {number} | {how} | {wait:.1f} s | {what} | {taken} |", flush=True)
    whole_run(struck)
    faults += compared(expected, struck, complete)
    verdict = faults or "all equal"
    print(f"\n{len(strikes)} strikes, {len(expected)} files, a run left alone takes {seconds:.0f} s: {verdict}")
    if not args.folder:
        shutil.rmtree(folder)
    sys.exit(bool(faults))


def compared(expected: dict[str, bytes], root: Path, complete: dict[str, list[int]]) -> list[str]:
    """What differs from the run that was left alone, in words."""
    found = results(root)
    faults = [f"{name} differs" for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    faults += [f"{file} is left" for file in (root / "results").rglob(".*.tmp*")]
    for name, taken in steps(root).items():
        if name in complete and taken != complete[name]:
            faults.append(f"{name} was finished and trained again")
        # A step is taken again where the strike came between its end and the end of its save.
        repeated = [step for step, count in Counter(taken).items() if count > 2]
        if repeated:
            faults.append(f"{name}: steps {repeated} taken more than twice")
    return faults


if __name__ == "__main__":
    main()
