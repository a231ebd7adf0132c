"""The drill: a small study on the test cluster, disturbed at random moments and recovered as the README says.

    python tests/slurm/drill.py --moments 24 --seed 1 --report benchmarks/drill.md

Once a disturbed run has come to its end, each of its Parquet, CSV and model files must equal that of a run that nothing
disturbed. Needs PYTHONPATH=tests/workflow. The tests disturb the tiny study in the same way, three times
(test_tiny_study.py).
"""

import argparse
import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checkouts import copy_project
from clusters import Job, Project, cluster, command_of, daemon, jobs, kill, kill_group, processes_of_job, slurm

STUDY = "tests/slurm/drill.yaml"
DISK_MB = 64  # the results of the drill's study take a fifth of it
PATIENCE = 900  # seconds until a run that does not end has failed the drill


class DrillError(Exception):
    """The study did not recover."""


@dataclass
class Drill:
    """One disturbed run after another of the study called `name`, in one copy of the project."""

    project: Project
    name: str
    rng: random.Random
    main: subprocess.Popen | None = None
    restarts: int = 0

    def start(self) -> None:
        self.main = self.project.start()

    def running(self) -> Job | None:
        """A random running job, once there is one; None when the main process ends before."""
        while self.main.poll() is None:
            if running := jobs(self.project.root, "RUNNING"):
                return self.rng.choice(running)
            time.sleep(0.3)
        return None

    # The faults. Each returns what it hit, or None when the run ended before there was anything to hit.

    def kill_job(self) -> str | None:
        """kill -9 of the script that a random job runs."""
        scripts = str(self.project.root / "workflow/scripts")
        while self.main.poll() is None:
            if pids := [pid for pid, command in processes(self.project.root) if scripts in command]:
                pid = self.rng.choice(pids)
                hit = next(part for part in command_of(pid).split() if scripts in part)
                kill(pid)
                return Path(hit).name
            time.sleep(0.1)
        return None

    def kill_main(self) -> str | None:
        """kill -9 of the main process, whose jobs live on; then end or await them."""
        self.main.kill()
        self.main.wait()
        live = jobs(self.project.root)
        return f"main process, {len(live)} live jobs"

    def kill_slurmd(self) -> str | None:
        """kill -9 of a node's daemon; it comes back before or after SLURM has given the node up."""
        node = self.rng.choice(["n1", "n2"])
        away = self.rng.choice([3, 40])
        kill(daemon(node))
        time.sleep(away)
        cluster("node", node, nice=os.nice(0))
        return f"slurmd of {node}, away for {away} s"

    def lose_node(self) -> str | None:
        """kill -9 of everything on a node: daemon, steps and their processes; it comes back after 40 s."""
        node = self.rng.choice(["n1", "n2"])
        kill(daemon(node))
        for job in jobs(self.project.root, "RUNNING"):
            for pid in processes_of_job(job.id, node):
                kill(pid)
        time.sleep(40)
        cluster("node", node, nice=os.nice(0))
        return f"node {node}"

    def time_out(self) -> str | None:
        """A random job reaches its time limit now."""
        if (job := self.running()) is None:
            return None
        told = subprocess.run(["scontrol", "update", f"JobId={job.id}", "EndTime=now"], check=False)
        return job.rule if told.returncode == 0 else f"{job.rule} (had ended)"

    def requeue(self) -> str | None:
        """An administrator requeues a random job."""
        if (job := self.running()) is None:
            return None
        told = subprocess.run(["scontrol", "requeue", job.id], stderr=subprocess.DEVNULL, check=False)
        return job.rule if told.returncode == 0 else f"{job.rule} (had ended)"

    def scancel(self) -> str | None:
        """A random job is cancelled."""
        if (job := self.running()) is None:
            return None
        slurm("scancel", job.id)
        return job.rule

    def full_disk(self) -> str | None:
        """The disk of the results is full for a while."""
        filler = self.project.root / "results/filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        seconds = self.rng.uniform(5, 25)
        time.sleep(seconds)
        filler.unlink()
        return f"for {seconds:.0f} s"

    def second_start(self) -> str | None:
        """The same command again while the first runs: refused, nothing disturbed."""
        second = self.project.run()
        if self.main.poll() is None and (second.returncode == 0 or "unlock" not in second.stdout):
            raise DrillError(f"a second start was not refused:\n{second.stdout[-2000:]}")
        return "refused"

    # Recovery, as the README describes it.

    def recover(self) -> None:
        """Start again after the main process has ended or died; first unlock, and end or await jobs that live on."""
        while self.main.poll() is not None and self.main.returncode != 0:
            self.restarts += 1
            unlocked = self.project.run("--unlock")
            if unlocked.returncode != 0:
                raise DrillError(f"--unlock failed:\n{unlocked.stdout[-2000:]}")
            live = jobs(self.project.root)
            self.start()
            if live and self._refused(live[0].name):
                if self.rng.random() < 0.5:
                    slurm("scancel", f"--name={live[0].name}")
                self._await(lambda: not jobs(self.project.root), "the jobs of the first run")
                self.start()
            time.sleep(5)

    def _refused(self, name: str) -> bool:
        """Whether the start was refused because jobs called `name` live; not so where they have ended by then."""

        def decided() -> bool:
            return self.main.poll() is not None or any(job.name != name for job in jobs(self.project.root))

        self._await(decided, "a start")
        if self.main.poll() is None:
            return False
        if f"scancel --name={name}" not in self.project.log.read_text():
            raise DrillError(f"a start over live jobs was not refused; see {self.project.log}")
        return True

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until:
                raise DrillError(f"{what} did not end within {PATIENCE} s")
            time.sleep(0.5)

    def strike(self, fault: str) -> str | None:
        """Let a fault happen and bring the run back; what was hit, None when the run had ended before."""
        if (hit := FAULTS[fault](self) if self.main.poll() is None else None) is not None:
            time.sleep(2)
            self.recover()
        return hit

    def finish(self) -> dict[str, bytes]:
        """Run to the end; all files of the results."""
        for _ in range(4):
            self._await(lambda: self.main.poll() is not None, "the run")
            if self.main.returncode == 0:
                return self.project.files(self.name)
            self.recover()
        raise DrillError(f"the run fails again and again; see {self.project.log}")

    def wipe(self) -> None:
        """Remove all results, for the next run."""
        subprocess.run(["rm", "-rf", f"results/{self.name}", ".snakemake"], cwd=self.project.root, check=True)

    def end(self) -> None:
        """End the run and all its jobs."""
        kill_group(self.main)
        self.project.cancel()
        self._await(lambda: not jobs(self.project.root), "cancelled jobs")


FAULTS = {
    "kill_job": Drill.kill_job,
    "kill_main": Drill.kill_main,
    "kill_slurmd": Drill.kill_slurmd,
    "lose_node": Drill.lose_node,
    "time_out": Drill.time_out,
    "requeue": Drill.requeue,
    "scancel": Drill.scancel,
    "full_disk": Drill.full_disk,
    "second_start": Drill.second_start,
}


def processes(folder: Path) -> list[tuple[int, str]]:
    """Python processes that run in `folder`, with their commands."""
    listed = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == folder and (command := command_of(int(entry.name))).startswith("python"):
                listed.append((int(entry.name), command))
        except OSError:
            continue
    return listed


def compare(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Raise DrillError unless both hold the same files with the same bytes."""
    differing = sorted(name for name in files.keys() | expected.keys() if files.get(name) != expected.get(name))
    if differing:
        raise DrillError(f"these differ from the undisturbed run's: {differing}")


def drill(folder: Path, moments: int, seed: int, report: Callable[[str], None]) -> None:
    """Disturb runs at `moments` random moments, each kind of fault in turn; one line for each goes to `report`."""
    rng = random.Random(seed)
    undisturbed = copy_project(folder / "undisturbed")
    result = undisturbed.snakemake("--config", f"study={STUDY}")
    if result.returncode != 0:
        raise DrillError(result.stderr[-3000:])
    expected = Project(undisturbed.root).files("drill")
    run = Drill(Project.of(copy_project(folder / "disturbed"), STUDY), "drill", rng)
    disk = run.project.root / "results"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", disk], check=True)
    faults: list[str] = []
    try:
        run.start()
        for number in range(1, moments + 1):
            faults = faults or rng.sample(list(FAULTS), len(FAULTS))
            fault, delay = faults.pop(), rng.uniform(1, 30)
            until = time.monotonic() + delay
            while time.monotonic() < until and run.main.poll() is None:
                time.sleep(0.2)
            before = run.restarts
            while (hit := run.strike(fault)) is None:
                # The run ended before: what it made is compared, and the fault strikes the next one.
                compare(run.finish(), expected)
                report(f"| | run ended | | {len(expected)} files equal | |")
                run.wipe()
                run.start()
                time.sleep(rng.uniform(3, 30))
                before = run.restarts
            restarted = f"{run.restarts - before} restart(s)" if run.restarts > before else "went on by itself"
            report(f"| {number} | {fault} | {delay:.0f} s | {hit} | {restarted} |")
        compare(run.finish(), expected)
        report(f"| | run ended | | {len(expected)} files equal | {run.restarts} restarts in all |")
    finally:
        try:
            run.end()
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


HEAD = "| Moment | Fault | After | Struck | Then |\n| --- | --- | --- | --- | --- |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, required=True, help="how often to disturb")
    parser.add_argument("--seed", type=int, required=True, help="of the moments and of what they strike")
    parser.add_argument("--report", type=Path, required=True, help="Markdown file for the table of moments")
    args = parser.parse_args()
    began = time.monotonic()
    cluster("start", nice=os.nice(0))
    lines = ["# Drill", "", f"`make drill`: {args.moments} moments, seed {args.seed}.", "", HEAD]

    def report(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    try:
        with tempfile.TemporaryDirectory() as folder:
            drill(Path(folder), args.moments, args.seed, report)
    finally:
        cluster("stop")
    lines += ["", f"All recovered, in {(time.monotonic() - began) / 60:.0f} minutes."]
    args.report.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
