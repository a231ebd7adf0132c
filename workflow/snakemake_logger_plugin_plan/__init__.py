"""Snakemake logger plugin `plan`: the jobs of a (dry) run as JSON lines, in the file named by $TOKENSHIFT_PLAN.

Each line holds rule, input, output and command of one job. It lies beside the library, not in it, because Snakemake
finds such plugins by the name of their module.
"""

import json
import os
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

PLAN = "TOKENSHIFT_PLAN"


class LogHandler(LogHandlerBase):
    """Writes the jobs that Snakemake announces."""

    def __post_init__(self) -> None:
        self._file = open(os.environ[PLAN], "w", encoding="utf-8")  # noqa: SIM115

    def emit(self, record: LogRecord) -> None:
        """Write the job that `record` announces, if it does."""
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            job = {
                "rule": record.rule_name,
                "inputs": [str(path) for path in record.input],
                "outputs": [str(path) for path in record.output],
                "command": record.shellcmd or "",
            }
            self._file.write(json.dumps(job) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """No: to a file of its own."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """No log file that Snakemake should list at its end."""
        return False

    @property
    def has_filter(self) -> bool:
        """Yes: it sees every event, however quiet the run."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Yes: JSON."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False
