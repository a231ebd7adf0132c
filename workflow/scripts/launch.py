"""Run a training script as one process of a SLURM step over several nodes, with what torch.distributed reads.

To be started by srun: only inside a step do SLURM's variables name all its nodes.
"""

import os
import sys

from tokenshift.cluster.ranks import distributed_environment
from tokenshift.command import run


def main() -> None:
    os.environ.update(distributed_environment(os.environ))
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


if __name__ == "__main__":
    run(main)
