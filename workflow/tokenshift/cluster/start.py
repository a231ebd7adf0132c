"""Before a run starts: what SLURM is asked, so that a run that cannot work, or would disturb another, never begins.

SLURM itself answers, through squeue and `sbatch --test-only`: its accounts, partitions and limits are known to no one
else.
"""

import getpass
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenshift.errors import StudyError

JOB_PREFIX = "tokenshift"  # of the name of every job: slurm-jobname-prefix in profiles/slurm

# Flags of sbatch by Snakemake's name of the resource.
FLAGS = {
    "slurm_account": "account",
    "slurm_partition": "partition",
    "qos": "qos",
    "constraint": "constraint",
    "nodes": "nodes",
    "tasks_per_node": "ntasks-per-node",
    "gres": "gres",
    "mem_mb": "mem",
    "runtime": "time",
    "threads": "cpus-per-task",
}

# What SLURM refuses for now and may accept once a node is back.
PASSING = ("Socket timed out", "drained or reserved", "busy")

# What a job asks of SLURM: Snakemake's resources by name, and threads.
Asked = Mapping[str, str | int]


def require_slurm() -> None:
    """Raise StudyError where SLURM's commands are missing or its controller does not answer."""
    if missing := [command for command in ("sbatch", "squeue", "srun", "scancel") if not shutil.which(command)]:
        raise StudyError(
            f"the profile slurm submits jobs to SLURM, but {', '.join(missing)} is not on PATH: start Snakemake on "
            "the cluster's login node (that may take `module load slurm`), or run locally with `snakemake --cores all`"
        )
    answer = _run("scontrol", "ping")
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip()
        raise StudyError(f"SLURM does not answer; `scontrol ping` says: {said}")


def refuse_live_jobs(folder: Path) -> None:
    """Raise StudyError while jobs that an earlier run submitted from `folder` wait or run; without SLURM, do nothing.

    Snakemake does not find them again: a second run would submit the same jobs, and both would write the same files.
    """
    if not shutil.which("squeue"):
        return
    listed = _run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%Z")
    jobs = [line.split("|", 2) for line in listed.stdout.splitlines() if line.count("|") >= 2]
    ours = [(job, name) for job, name, where in jobs if name.startswith(JOB_PREFIX + "_") and Path(where) == folder]
    if not ours:
        return
    names = sorted({name for _, name in ours})
    ends = "".join(f"    scancel --name={name}\n" for name in names)  # unlike squeue, scancel takes no list of names
    listed_ids = ", ".join(job for job, _ in ours[:10]) + (" ..." if len(ours) > 10 else "")
    raise StudyError(
        f"{len(ours)} job(s) of an earlier run from {folder} are still in SLURM: {listed_ids}. Another run beside them "
        "would write the same files. Either end them:\n"
        f"{ends}"
        "or await them:\n"
        f"    while squeue --noheader --name={','.join(names)} | grep -q .; do sleep 10; done\n"
        "and start again. (A run of another study that is to go on beside this one needs its own copy of the project.)"
    )


def submission(asked: Asked) -> list[str]:
    """The sbatch command that shows SLURM what a job asks, without submitting it."""
    command = ["sbatch", "--test-only", "--output=/dev/null", "--wrap=true"]
    command += [f"--{flag}={asked[name]}" for name, flag in FLAGS.items() if asked.get(name)]
    if asked.get("gpu"):
        model = f"{asked['gpu_model']}:" if asked.get("gpu_model") else ""
        command.append(f"--gpus={model}{asked['gpu']}")
    return command


def refuse_impossible(jobs: Iterable[Asked]) -> None:
    """Raise StudyError at the first of `jobs`, each what it asks, that SLURM would refuse whenever it came."""
    for command in {tuple(submission(asked)): None for asked in jobs}:
        answer = _run(*command)
        said = answer.stderr.strip()
        if answer.returncode != 0 and not any(passing in said for passing in PASSING):
            flags = " ".join(command[4:])
            raise StudyError(f"SLURM refuses a job of this run ({flags}):\n    {said}\n{_remedy(said, command)}")


def _remedy(said: str, command: tuple[str, ...]) -> str:
    """What to do about SLURM's refusal of `command`."""
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in command[1:] if "=" in flag)
    partition = flags.get("partition", "the default partition")
    if "ccount" in said:
        return (
            "Name an account that may use this partition: export SBATCH_ACCOUNT=..., or slurm_account in "
            "profiles/slurm/config.yaml (`sacctmgr show associations user=$USER` lists yours)"
        )
    if "partition" in said and "configuration" not in said:
        return "Name an existing partition: export SBATCH_PARTITION=... (`sinfo` lists them)"
    if ("gpus" in flags or "gres" in flags) and "processors" not in said:
        known = _run("sinfo", "--noheader", "--format=%P %G").stdout.split("\n")
        there = "; ".join(line.strip() for line in known if line.strip())
        return (
            f"The nodes of {partition} do not have the GPUs that compute.gpus in the study file asks for: "
            f"export SBATCH_PARTITION=... or GPU_PARTITION=..., or lower compute.gpus. Partitions and GPUs: {there}"
        )
    return (
        f"No node of {partition} has what is asked for: lower compute.threads, mem_mb or runtime in the study file, or "
        "export SBATCH_PARTITION=... (`sinfo --format='%P %c %m %l'` lists CPUs, memory and time limits)"
    )


def _run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, check=False)
