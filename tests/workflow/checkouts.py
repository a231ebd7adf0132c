"""A copy of the project to run Snakemake in, so that tests can edit it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Checkout:
    """A copy of the project."""

    root: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Snakemake on the tiny study (or on another, with `--config study=...` given later)."""
        study = [] if "--config" in arguments else ["--config", "study=tests/workflow/tiny.yaml"]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *study, *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def planned_rules(self, *arguments: str) -> set[str]:
        """Rules of the jobs that a dry run plans."""
        result = self.snakemake("--dry-run", *arguments)
        assert result.returncode == 0, result.stderr + result.stdout
        table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)^total", result.stdout, re.MULTILINE | re.DOTALL)
        return {line.split()[0] for line in table[1].splitlines()} - {"all"} if table else set()


def copy_project(folder: Path) -> Checkout:
    """Copy what git tracks, or would, into `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        source, target = ROOT / name, folder / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return Checkout(folder)
