"""The test cluster, and runs of the workflow on it."""

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from checkouts import Checkout

SCRIPT = Path(__file__).with_name("cluster.sh")
EAGER = Path(__file__).with_name("eager.py")
STATE = "/var/lib/tokenshift-slurm"  # as in cluster.sh


def obstacle() -> str | None:
    """Why the test cluster cannot be started here; None where it can."""
    if os.geteuid() != 0:
        return "only root can start the test cluster"
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        return "neither SLURM nor apt-get to install it with"
    return None


def cluster(*arguments: str, nice: int = 0) -> None:
    """Run cluster.sh."""
    environment = {**os.environ, "CLUSTER_NICE": str(nice)}
    result = subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def slurm(*command: str) -> str:
    """What a command of SLURM's prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Job:
    """A job in SLURM, as squeue lists it."""

    id: str
    name: str
    state: str
    node: str
    rule: str


def jobs(folder: Path, *states: str) -> list[Job]:
    """Jobs submitted from `folder` in one of `states` (by default any that squeue calls live)."""
    chosen = [f"--states={','.join(states)}"] if states else []
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%T|%N|%k|%Z", *chosen]
    rows = [line.split("|") for line in slurm(*command).splitlines()]
    return [Job(*row[:5]) for row in rows if row[5] == str(folder)]


@dataclass
class Project:
    """A copy of the project whose config/config.yaml names a study: commands need no more than --profile slurm."""

    root: Path
    log: Path = field(init=False)

    def __post_init__(self):
        self.log = self.root / "run.log"

    @classmethod
    def of(cls, checkout: Checkout, study: str) -> "Project":
        (checkout.root / "config/config.yaml").write_text(f"study: {study}\n")
        return cls(checkout.root)

    def environment(self, **variables: str) -> dict[str, str]:
        # As an activated virtual environment.
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}

    def start(self) -> subprocess.Popen:
        """Start `snakemake --profile slurm` (eager.py) in a session of its own; what it prints goes to the log."""
        with open(self.log, "a") as log:
            return subprocess.Popen(
                [sys.executable, EAGER, "--profile", "slurm"],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Run `snakemake --profile slurm ...`, as a person types it, to its end; its output is in `stdout`."""
        return self._run(["snakemake"], arguments, variables)

    def run_eagerly(self, *arguments: str) -> subprocess.CompletedProcess:
        """The same without long pauses between checks of the jobs (eager.py)."""
        return self._run([sys.executable, EAGER], arguments, {})

    def _run(self, program: list, arguments: tuple[str, ...], variables: dict) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*program, "--profile", "slurm", *arguments],
            cwd=self.root,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )

    def files(self, study: str) -> dict[str, bytes]:
        """Every Parquet, CSV and model file of a study's results, by its path."""
        folder = self.root / "results" / study
        found = [file for kind in ("*.parquet", "*.csv", "*.safetensors") for file in folder.rglob(kind)]
        kept = [file for file in found if "training_state" not in file.parts and ".tmp" not in str(file)]
        return {str(file.relative_to(folder)): file.read_bytes() for file in kept}

    def full_log(self) -> str:
        """All that Snakemake has said in this copy, restarts included."""
        return "".join(log.read_text() for log in sorted((self.root / ".snakemake/log").glob("*.log")))

    def cancel(self) -> None:
        """End all jobs submitted from here."""
        if live := [job.id for job in jobs(self.root)]:
            slurm("scancel", *live)


def kill_group(process: subprocess.Popen) -> None:
    """End a process started by Project.start at once, with the children it has on this host."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill(pid: int) -> None:
    """kill -9, and wait until the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while command_of(pid) and time.monotonic() < until:
        time.sleep(0.01)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def daemon(node: str) -> int:
    """Process id of a node's slurmd."""
    return int(Path(f"{STATE}/slurmd-{node}.pid").read_text())


def processes_of_job(job: str, node: str) -> list[int]:
    """All processes of a SLURM job on `node`, the daemons of its steps first."""
    steps, tasks = [], []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = set((entry / "environ").read_bytes().split(b"\0"))
            files = [os.readlink(file) for file in (entry / "fd").iterdir()]
        except OSError:
            continue
        if {f"SLURM_JOB_ID={job}".encode(), f"SLURMD_NODENAME={node}".encode()} <= environment:
            tasks.append(int(entry.name))
        elif command_of(int(entry.name)).startswith(f"slurmstepd: [{job}.") and f"{STATE}/slurmd-{node}.log" in files:
            steps.append(int(entry.name))
    return steps + tasks
