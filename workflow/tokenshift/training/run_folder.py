"""The folder of a run's state: its name, whose it is, its lock, and the folders in it."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, TextIO

from tokenshift.errors import StudyError

LOCK_SECONDS = 60  # how long a run waits for an earlier one in its folder, which may be saving after a signal


def spec_key(spec: dict[str, Any]) -> str:
    """Name of the folder of a run: a hash of all that it depends on."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the model after `step` is kept in the model folder of the run."""
    return folder / "checkpoints" / f"step-{step:06d}"


def locked(path: Path) -> TextIO:
    """The file at `path`, locked until this process ends. Raises StudyError when another process keeps it locked."""
    file = open(path, "w")  # noqa: SIM115 (closing it would unlock it)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise StudyError(
                    f"another process trains in {path.parent}, perhaps for a job on a node that SLURM has lost: end "
                    "it and start again"
                ) from None
            time.sleep(1)
        else:
            return file


def require_own(folder: Path) -> None:
    """Raise StudyError unless `folder` belongs to this user and no one else can write into it."""
    about = folder.stat()
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise StudyError(
            f"{folder}, which holds the state of a training run, belongs to or can be written by another user: delete "
            "it, or, where you trust what is in it, take it over with chown and `chmod go-w`"
        )


def link_or_copy(source: str, target: str) -> None:
    """Make `target` another name of the file `source`, or a copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
