"""Snakemake logger plugin `study`: what runs now, how far it is, how many jobs are done, and errors; nothing else.

On a terminal the running jobs stand below what is finished, each with its progress and the time left; elsewhere (a
file, a CI log) they are listed every HEARTBEAT seconds. Everything that Snakemake says is in its own log file, which
the last line names. Dry runs and `--verbose` look as ever. It lies beside the library, not in it, because Snakemake
finds such plugins by the name of their module.
"""

import logging
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

HEARTBEAT = 30  # seconds
LOG_TAIL = 20  # last lines of a failed job's log that are shown

# What Snakemake says before a run that tells a reader nothing, and what it says during one that does.
CHATTER = (
    *("Using workflow specific profile", "Config file ", "Building DAG", "Assuming unrestricted", "host: "),
    *("Using shell", "Conda environments: ignored"),
)
WORTH_SAYING = ("Nothing to be done", "Trying to restart", "Complete log", "Shutting down", "Terminating")

# A line of tqdm's: 45%|████     | 68/150 [00:12<00:15, 5.33 step/s]
PROGRESS = re.compile(r"(\d+)%\|[^|]*\| *(\d+/\d+) \[[^<\]]*<([^,\]]+)")


def progress_in(log: Path, since: float) -> str:
    """The last progress that a job reported in its log after the time `since`, in a few words; empty without any."""
    try:
        if log.stat().st_mtime < since:
            return ""
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            reported = PROGRESS.findall(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""
    if not reported:
        return ""
    percent, count, left = reported[-1]
    return f"{percent} % ({count}), {'' if left == '?' else left + ' left'}".rstrip(", ")


def duration(seconds: float) -> str:
    """Seconds as 12 s, 3 min 05 s, or 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


@dataclass
class Job:
    """A job that Snakemake has started: what it does, in words, its log, and since when it runs."""

    message: str
    log: Path | None
    started: float = field(default_factory=time.time)

    def __str__(self) -> str:
        progress = progress_in(self.log, self.started) if self.log else ""
        return f"{self.message}: {progress or duration(time.time() - self.started)}"


class View:
    """The jobs of a run, on a terminal or as lines."""

    def __init__(self, console: Console):
        self.console = console
        self.running: dict[int, Job] = {}
        self.done = self.total = 0
        self.began = time.time()
        self._over = threading.Event()
        self._live: Live | None = None

    def begin(self, total: int) -> None:
        """Start to show a run of so many jobs."""
        self.total, self.began = total, time.time()
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._below,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()

    def end(self) -> None:
        """Show nothing more of the running jobs."""
        self._over.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str, style: str = "") -> None:
        """Print lines that stay."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def finish(self, job: int) -> None:
        """Say that a job is done."""
        self.done += 1
        finished = self.running.pop(job, None)
        if finished is not None:
            self.say(f"[{self.done}/{self.total}] {finished.message} ({duration(time.time() - finished.started)})")

    def _below(self) -> Group:
        summary = f"{self.done} of {self.total} jobs done, {duration(time.time() - self.began)}"
        jobs = [Text(f"  {job}", overflow="ellipsis", no_wrap=True) for job in list(self.running.values())]
        return Group(Text(summary, style="bold"), *jobs)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT):
            for job in list(self.running.values()):
                self.say(f"        running: {job}")


class LogHandler(LogHandlerBase):
    """Shows the events of a run in a View; whatever else Snakemake does, as Snakemake itself would."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        self._as_ever = ColorizingTextHandler(
            nocolor=settings.nocolor, stream=sys.stdout if settings.stdout else sys.stderr
        )
        self._as_ever.addFilter(
            DefaultFilter(
                settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
            )
        )
        self._as_ever.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
        self._view = View(Console(stderr=True, no_color=settings.nocolor, highlight=False))
        self._runs = False

    def emit(self, record: logging.LogRecord) -> None:
        """Show what `record` tells of the run."""
        settings = self.common_settings
        event = getattr(record, "event", None)
        if settings.dryrun or settings.verbose or settings.debug_dag:
            self._as_ever.handle(record)
        elif Quietness.ALL in (settings.quiet or ()):
            return
        elif event == LogEvent.RUN_INFO:
            self._runs = True
            self._view.begin(record.stats.get("total", 0))
        elif event == LogEvent.JOB_INFO:
            if record.rule_msg:  # the target alone has none
                self._view.running[record.jobid] = Job(record.rule_msg, Path(record.log[0]) if record.log else None)
        elif event == LogEvent.JOB_FINISHED:
            self._view.finish(record.job_id)
        elif event == LogEvent.PROGRESS and record.done == record.total:
            self._view.end()
        elif event == LogEvent.JOB_ERROR:
            self._fail(record.jobid, record.rule_name, record.log)
        elif event == LogEvent.GROUP_ERROR:
            for job in record.job_error_info:
                self._fail(job["jobid"], job["rule_name"], job["log"])
        elif event in (None, LogEvent.ERROR):
            self._say(record)

    def _fail(self, jobid: int, rule: str, logs: list[str]) -> None:
        """Say which job failed, with the end of its log."""
        job = self._view.running.pop(jobid, None)
        self._view.say(f"failed: {job.message if job else rule}", "red")
        for log in map(Path, logs):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
            shown = [line for line in lines if line.strip() and not PROGRESS.search(line)][-LOG_TAIL:]
            self._view.say("\n".join(f"    {line}" for line in shown))
            self._view.say(f"    (all of it: {log})")

    def _say(self, record: logging.LogRecord) -> None:
        """A message that belongs to no job."""
        text = self._as_ever.format(record)
        if self._runs:
            wanted = record.levelno >= logging.WARNING or text.startswith(WORTH_SAYING)
        else:
            wanted = not text.startswith(CHATTER)
        if wanted and text:
            self._view.say(text, "red" if record.levelno >= logging.ERROR else "")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._view.end()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """Yes: instead of Snakemake's own handler."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No: Snakemake's own log file holds everything."""
        return False

    @property
    def has_filter(self) -> bool:
        """Yes: it sees every event."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Yes."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False
