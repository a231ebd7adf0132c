"""Processes that srun started on several nodes, as torch.distributed sees them."""

import re
import subprocess
from collections.abc import Mapping

from tokenshift.errors import StudyError

FIRST_PORT, PORTS = 20_000, 10_000  # below the ports that Linux gives to outgoing connections (32768 on)


def distributed_environment(slurm: Mapping[str, str]) -> dict[str, str]:
    """RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT of this process, from the variables of its SLURM step.

    Raises StudyError outside a step.
    """
    if missing := [name for name in ("SLURM_PROCID", "SLURM_STEP_NODELIST") if name not in slurm]:
        raise StudyError(
            f"{' and '.join(missing)} not set: training on several nodes (compute.nodes) runs under SLURM only; start "
            "it with `snakemake --profile slurm`, or set compute.nodes to 1"
        )
    return {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "WORLD_SIZE": slurm["SLURM_STEP_NUM_TASKS"],
        "MASTER_ADDR": _address(_first_node(slurm["SLURM_STEP_NODELIST"])),
        # Jobs that share a node differ in their ids: so do their ports, but for one pair in ten thousand.
        "MASTER_PORT": str(FIRST_PORT + int(slurm["SLURM_JOB_ID"]) % PORTS),
    }


def _first_node(nodes: str) -> str:
    return _scontrol("show", "hostnames", nodes).split()[0]


def _address(node: str) -> str:
    """The address at which SLURM itself reaches `node`: its name need not be one that resolves."""
    return re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", node))[1]


def _scontrol(*arguments: str) -> str:
    answer = subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StudyError(f"scontrol {' '.join(arguments)} failed: {(answer.stderr or answer.stdout).strip()}")
    return answer.stdout
