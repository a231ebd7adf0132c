"""Snakemake with its SLURM executor asking for its jobs' states every second.

The executor waits ten seconds longer after each check, up to three minutes. That spares a cluster, but a study of many
short jobs would spend most of its time in these pauses. Nothing else differs from the `snakemake` command.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)

if __name__ == "__main__":
    main(sys.argv[1:])
