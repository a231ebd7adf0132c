"""The jobs of a study, as Snakemake plans them from today's code and study file."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenshift.errors import StudyError, nearest
from tokenshift.provenance.hashes import LIBRARY, ROOT


@dataclass(frozen=True)
class Job:
    """One job: its rule, its files, and the command that Snakemake would run for it today."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    command: str

    @cached_property
    def words(self) -> list[str]:
        """The words of the command, `$(dirname FILE)` replaced by the folder, without the redirection to the log."""
        command = re.sub(r"\$\(dirname (\S+)\)", lambda named: str(Path(named[1]).parent), self.command)
        return shlex.split(command.rpartition(" 2> ")[0] or command)

    @cached_property
    def script(self) -> str | None:
        """The script it runs, from the project's root; none for a rule that only checks its inputs."""
        place = self._place
        return None if place is None else self.words[place].replace("$SCRIPTS", "workflow/scripts")

    @cached_property
    def arguments(self) -> dict[str, list[str]]:
        """Values of each option of the script, without those of what launches it."""
        return {} if self._place is None else options(self.words[self._place + 1 :])

    @property
    def _place(self) -> int | None:
        """Which of the words is the script; what comes before it, perhaps a script too, launches it."""
        return max((number for number, word in enumerate(self.words) if word.startswith("$SCRIPTS/")), default=None)

    @property
    def spec(self) -> dict[str, Any]:
        """The JSON of --spec."""
        return json.loads(self.arguments["--spec"][0]) if "--spec" in self.arguments else {}

    @cached_property
    def read(self) -> list[str]:
        """Those of its inputs that the script reads; the others only have to be there first."""
        given = set(self.words)
        return [path for path in self.inputs if given & {path, str(Path(path).parent)}]


def options(words: list[str]) -> dict[str, list[str]]:
    """Values of each option among the words of a command line."""
    by_name: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if re.match(r"--[a-z]", word):
            name, given, value = word.partition("=")
            by_name[name] = values = [value] if given else []
        else:
            values.append(word)
    return by_name


def plan(root: Path, study: str, *arguments: str) -> list[Job]:
    """Jobs that `snakemake ARGUMENTS` would run on `study` in the project at `root`.

    Raises StudyError, with what Snakemake says, when it cannot plan.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.jsonl"
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--logger", "plan"]
        environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent), "TOKENSHIFT_PLAN": str(file)}
        result = subprocess.run(
            [*command, "--config", f"study={study}", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            said = result.stdout.strip() or result.stderr.strip()  # in a dry run Snakemake's log is on stdout
            raise StudyError(f"Snakemake cannot plan {study}: {said[-2000:]}")
        jobs = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Job(job["rule"], tuple(job["inputs"]), tuple(job["outputs"]), job["command"]) for job in jobs]


def whole_plan(root: Path, study: str, *targets: str) -> list[Job]:
    """All jobs that `targets` (without any, the whole study) come from, whether they are up to date or not."""
    return plan(root, study, "--forceall", *(["--", *targets] if targets else []))


def figure_files(study: str, figure: str) -> list[str]:
    """The files of a figure of the study of that name. Raises StudyError when the project draws no such figure."""
    known = sorted(script.stem for script in (ROOT / "workflow/scripts/figures").glob("*.py"))
    if figure not in known:
        raise StudyError(f"no figure '{figure}'{nearest(figure, known)}")
    return [f"results/{study}/figures/{figure}.{form}" for form in ("pdf", "png", "csv")]
