"""The folder of a run's state: its name, its lock, and what is kept in it beside DeepSpeed's own state."""

import fcntl
import hashlib
import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

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


def generator_states() -> dict[str, Any]:
    """States of the random number generators of this process."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}  # noqa: NPY002


def restore_generators(states: dict[str, Any]) -> None:
    """Put the random number generators of this process into `states`, given by `generator_states`."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"])


def link_or_copy(source: str, target: str) -> None:
    """Make `target` another name of the file `source`, or a copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
