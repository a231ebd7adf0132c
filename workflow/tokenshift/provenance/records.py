"""The record of a job: what it ran on, with which code, settings, packages and machine, and what it wrote.

`<output>.prov.json` lies beside each output; a model folder's beside its manifest.json. A record holds a digest of
itself and those of its inputs' records, so that an edited record no longer fits the records of what was made from it.
No result depends on this module: `hashes.code_hash` leaves it out.
"""

import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokenshift import atomic
from tokenshift.atomic import SCHEMA_VERSION, atomic_file
from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import ROOT, code_hash, file_hash, sha256
from tokenshift.provenance.packages import differing, installed, pins

RECORD_VERSION = 1
SUFFIX = ".prov.json"


def record_path(output: str | Path) -> Path:
    """Where the record of `output` lies."""
    return Path(f"{output}{SUFFIX}")


def digest(record: dict[str, Any]) -> str:
    """SHA-256 of all of a record but its own digest."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def rendered(record: dict[str, Any]) -> str:
    """The text of a record's file."""
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def read_record(path: str | Path) -> dict[str, Any]:
    """The record in the file at `path`.

    Raises StudyError when it is not as it was written, or of a newer version.
    """
    path = Path(path)
    remedy = f"make its output again: `snakemake --forcerun {str(path).removesuffix(SUFFIX)}`"
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
    except ValueError as error:
        raise StudyError(f"{path}: edited since it was written (no JSON: {error}); {remedy}") from None
    if not isinstance(record, dict) or not isinstance(record.get("version"), int):
        raise StudyError(f"{path}: edited since it was written (no version); {remedy}")
    if record["version"] > RECORD_VERSION:
        raise StudyError(
            f"{path}: of version {record['version']}, newer than the version {RECORD_VERSION} of this code; update the "
            "code, or move the results elsewhere"
        )
    if record.get("digest") != digest(record) or text != rendered(record):
        raise StudyError(f"{path}: edited since it was written (its digest is another); {remedy}")
    return record


def require_sound_inputs() -> None:
    """Raise StudyError, before anything is computed, when the record of a file that the arguments name was edited."""
    for path in filter(None, map(_named_file, sys.argv[1:])):
        _digest_of(path)


def require_own(results: Path) -> None:
    """Raise StudyError when the folder of a study's results holds those of another study, or of newer code."""
    for file in sorted(results.rglob(f"*{SUFFIX}")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            made = [entry["path"] for entry in record["outputs"]]
            newer = record["version"] > RECORD_VERSION or record["schema_version"] > int(SCHEMA_VERSION)
        except (ValueError, KeyError, TypeError):
            continue  # edited: the audit names it, and the jobs that read its output refuse it
        if newer:
            raise StudyError(
                f"{results} holds results of newer code ({file} has record version {record['version']} and schema "
                f"version {record['schema_version']}, this code {RECORD_VERSION} and {SCHEMA_VERSION}); update the "
                "code, or move the folder elsewhere"
            )
        foreign = [path for path in made if not Path(path).is_absolute() and results not in Path(path).parents]
        if foreign:
            raise StudyError(
                f"{results} holds results of another study: {file} is the record of {foreign[0]}; move the folder "
                "elsewhere, or give this study another name"
            )


def write_records(started: datetime) -> None:
    """Write the record of this process beside each file or folder that its arguments name and that it has written."""
    written = {os.path.abspath(path) for path in atomic.written}
    named = dict.fromkeys(filter(None, map(_named_file, sys.argv[1:])))
    outputs = [path for path in named if {os.path.abspath(path), os.path.abspath(path.parent)} & written]
    if not outputs:
        return
    inputs = [path for path in named if path not in outputs]
    record = {
        "version": RECORD_VERSION,
        "schema_version": int(SCHEMA_VERSION),
        "script": os.path.relpath(sys.argv[0], ROOT),
        "arguments": sys.argv[1:],
        "spec": _spec(),
        "seeds": seeds(_spec()),
        "code": code_hash(Path(sys.argv[0]).resolve()),
        "environment": environment(_spec()),
        "git": git_state(),
        "host": socket.gethostname(),
        "device": device(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": atomic.sources,
        "inputs": [{"path": str(path), "sha256": sha256(path), "record": _digest_of(path)} for path in inputs],
        "outputs": [{"path": str(path), "sha256": sha256(path)} for path in outputs],
    }
    text = rendered(record | {"digest": digest(record)})
    for path in outputs:
        with atomic_file(record_path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _named_file(argument: str) -> Path | None:
    """The file that an argument names; of a model folder its manifest."""
    if os.path.isfile(argument):
        return Path(argument)
    manifest = os.path.join(argument, "manifest.json")
    return Path(manifest) if os.path.isfile(manifest) else None


def _spec() -> dict[str, Any]:
    """The JSON of --spec, as the script was given it."""
    return json.loads(sys.argv[sys.argv.index("--spec") + 1]) if "--spec" in sys.argv else {}


def _digest_of(path: Path) -> str | None:
    """Digest in the record of a file; none where it has no record."""
    record = record_path(path)
    return read_record(record)["digest"] if record.is_file() else None


def seeds(spec: dict[str, Any], within: str = "") -> dict[str, int]:
    """Every seed in a spec, by its dotted key."""
    by_key = {}
    for key, value in spec.items():
        if key == "seed":
            by_key[f"{within}{key}"] = value
        elif isinstance(value, dict):
            by_key |= seeds(value, f"{within}{key}.")
    return by_key


def environment(spec: dict[str, Any]) -> dict[str, Any]:
    """Python and the packages of the stack that the spec names by its hash (of none, all packages of the lock)."""
    stacks = {file_hash(file): file for file in sorted((ROOT / "envs").glob("*.yaml"))}
    file = stacks.get(spec.get("environment", ""))
    locked, versions = pins(file or ROOT / "requirements.lock"), installed()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "stack": file.stem if file else None,
        "stack_sha256": sha256(file) if file else None,
        "lock_sha256": sha256(ROOT / "requirements.lock"),
        "packages": {name: versions[name] for name in sorted(locked) if name in versions},
        "differing_from_lock": differing(locked, versions),
    }


def git_state() -> dict[str, Any]:
    """Commit of the code, and which of its tracked files differ from it; null where git cannot tell."""
    try:
        commit, changed = (
            subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}


def device() -> dict[str, Any]:
    """Names of the processor and of the GPUs that this process has used."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return {
        "cpu": _processor(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())] if used else [],
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
