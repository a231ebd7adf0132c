"""Files and folders that appear only when they are complete and on disk: a killed job leaves nothing that looks so.

What this process has written so, and what it has taken from outside the study, is kept for its record
(provenance.records). Every process that runs Snakemake imports this, so it imports little.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenshift.errors import StudyError

SCHEMA_VERSION = "4"  # of all results; what another version wrote is refused

written: list[Path] = []
sources: list[dict[str, Any]] = []  # what came from outside: kind, where from, hash or commit


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`, on failure remove it.

    What a killed process left of the same file is removed first. Raises StudyError where a folder lies at `path`.
    """
    path = Path(path)
    if path.is_dir():
        raise StudyError(f"{path} is a folder where a file should be; delete it")
    temporary = _temporary(path, path.suffix)
    try:
        yield temporary
        with open(temporary, "rb") as complete:
            os.fsync(complete.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
        written.append(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success sync and rename it to `path`, else remove it.

    The last file written is `manifest.json`, with the SHA-256 of every other: the folder's identity for later stages.
    What a killed process left of the same folder is removed first.
    """
    path = Path(path)
    temporary = _temporary(path, "")
    temporary.mkdir()
    try:
        yield temporary
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        digests = {str(file.relative_to(temporary)): synced_sha256(file) for file in files}
        write_json(temporary / "manifest.json", {"sha256": digests})
        for inner in temporary.rglob("*/"):
            sync_folder(inner)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
        written.append(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path, suffix: str) -> Path:
    """Where this process writes what will be `path`; others that wrote it and live no longer have left nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    host, own = socket.gethostname(), os.getpid()
    for left in path.parent.glob(f".{glob.escape(path.name)}.~*~*.tmp{glob.escape(suffix)}"):
        *_, where, process = left.name.removesuffix(f".tmp{suffix}").rsplit("~", 2)
        if where != host or process == str(own) or not _lives(process):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.~{host}~{own}.tmp{suffix}")


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ValueError:
        return False
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def synced_sha256(file: str | Path) -> str:
    """SHA-256 of a file's content, which is on disk when this returns."""
    with open(file, "rb") as complete:
        os.fsync(complete.fileno())
        return hashlib.file_digest(complete, "sha256").hexdigest()


def sync_folder(folder: str | Path) -> None:
    """Return when the names of the files in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
