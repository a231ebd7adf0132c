"""The record of a job: what it ran on, with which code, settings, packages and machine, and what it wrote.

`<output>.prov.json` lies beside each output; a model folder's beside its manifest.json. A record holds a digest of
itself and those of its inputs' records, so that an edited record no longer fits the records of what was made from it.
No result depends on this module: `hashes.code_hash` leaves it out.
"""

import json
import os
import platform
import secrets
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tokenshift import atomic
from tokenshift.atomic import SCHEMA_VERSION, atomic_file
from tokenshift.errors import StudyError
from tokenshift.provenance.form import RECORD, digest
from tokenshift.provenance.hashes import ROOT, code_hash, file_hash, sha256
from tokenshift.provenance.packages import differing, installed, pins

RECORD_VERSION = 2
SUFFIX = ".prov.json"
LARGEST_HASHED = 2**30  # bytes of an input that is hashed before it is read: about a second
FILES = {".parquet", ".csv", ".json", ".pdf", ".png", ".html"}  # suffixes of what jobs write


def record_path(output: str | Path) -> Path:
    """Where the record of `output` lies."""
    return Path(f"{output}{SUFFIX}")


def rendered(record: dict[str, Any]) -> str:
    """The text of a record's file."""
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def read_record(path: str | Path) -> dict[str, Any]:
    """The record in the file at `path`.

    Raises StudyError when it is not as it was written, holds something else than a record does, or is of another
    version.
    """
    path = Path(path)
    remedy = f"make its output again: `snakemake --forcerun {str(path).removesuffix(SUFFIX)}`"
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path}: edited since it was written (no JSON: {_brief(error)}); {remedy}") from None
    if not isinstance(record, dict) or type(record.get("version")) is not int:
        raise StudyError(f"{path}: edited since it was written (no version); {remedy}")
    if record["version"] > RECORD_VERSION:
        raise StudyError(
            f"{path}: of version {record['version']}, newer than the version {RECORD_VERSION} of this code; update the "
            "code, or move the results elsewhere"
        )
    if record["version"] < RECORD_VERSION:
        raise StudyError(f"{path}: of version {record['version']}, which this code does not read any more; {remedy}")
    try:
        if record.get("digest") != digest(record) or text != rendered(record):
            raise StudyError(f"{path}: edited since it was written (its digest is another); {remedy}")
        RECORD.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StudyError(f"{path}: a broken record ({where}: {_brief(first['msg'])}); {remedy}") from None
    except RecursionError:
        raise StudyError(f"{path}: a broken record (nested too deeply); {remedy}") from None
    return record


def _brief(message: object) -> str:
    return " ".join(str(message).split())[:100]


def require_sound_inputs() -> None:
    """Raise StudyError, before anything is computed, when a file among the arguments is not as its record says."""
    for path in filter(None, map(_named_file, sys.argv[1:])):
        if record_path(path).is_file():
            require_unchanged(path)


def require_unchanged(path: Path) -> dict[str, Any]:
    """The record of the file at `path`, which is as it was made; with a model's manifest, its files are as well.

    Files above LARGEST_HASHED bytes are taken to be so if they are as long. Raises StudyError when they are not so, or
    when there is no sound record.
    """
    if not record_path(path).is_file():
        raise StudyError(f"{path} has no record; make it again: `snakemake --forcerun {path}`")
    record = read_record(record_path(path))
    recorded = {os.path.abspath(entry["path"]): entry for entry in record["outputs"]}
    entry = recorded.get(os.path.abspath(path))
    if entry is None:
        raise StudyError(
            f"{record_path(path)} is the record of {record['outputs'][0]['path']}: {path} is another study's or job's; "
            f"make it again: `snakemake --forcerun {path}`"
        )
    if path.stat().st_size != entry["bytes"] or not _has_hash(path, entry["sha256"]):
        raise StudyError(f"{path} was changed since it was made; make it again: `snakemake --forcerun {path}`")
    if path.name == "manifest.json":
        _require_unchanged_folder(path)
    return record


def is_sound(path: Path) -> bool:
    """Whether the file at `path` is there, with a record that describes it."""
    try:
        return path.is_file() and bool(require_unchanged(path))
    except StudyError:
        return False


def described_files(manifest: Path) -> dict[str, str]:
    """SHA-256 of each file of a model folder, by its name in it. Raises StudyError when it is no such manifest."""
    try:
        described = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
        return TypeAdapter(dict[str, str]).validate_python(described, strict=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise StudyError(
            f"{manifest}: not the manifest of a model; make it again: `snakemake --forcerun {manifest}`"
        ) from None


def model_files(manifest: Path) -> set[str]:
    """Names of the files that lie in a model folder, but its manifest and the record."""
    folder = manifest.parent
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    return found - {manifest.name, record_path(manifest).name}


def _require_unchanged_folder(manifest: Path) -> None:
    described, there = described_files(manifest), model_files(manifest)
    for name in sorted(described.keys() | there):
        file = manifest.parent / name
        if name not in described:
            raise StudyError(f"{file} is not among the files of the model that {manifest} lists; move it elsewhere")
        if name not in there or not _has_hash(file, described[name]):
            raise StudyError(
                f"{file} is missing or was changed since it was made; make the model again: "
                f"`snakemake --forcerun {manifest}`"
            )


def _has_hash(path: Path, hashed: str) -> bool:
    return path.stat().st_size > LARGEST_HASHED or sha256(path) == hashed


def require_own(results: Path) -> None:
    """Raise StudyError when the folder of a study's results holds those of another study, or of newer code.

    Nor may a folder lie where a file should: Snakemake would take it for the file.
    """
    for folder in results.rglob("*/"):
        if folder.suffix in FILES:
            raise StudyError(f"{folder} is a folder where a file should be; delete it")
    for file in sorted(results.rglob(f"*{SUFFIX}")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            made = [str(entry["path"]) for entry in record["outputs"]]
            newer = record["version"] > RECORD_VERSION or record["schema_version"] > int(SCHEMA_VERSION)
        except (ValueError, KeyError, TypeError, RecursionError):
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
        "arguments": _arguments(),
        "spec": _spec(),
        "seeds": seeds(_spec()),
        "code": code_hash(Path(sys.argv[0]).resolve()),
        "environment": environment(_spec()),
        "git": git_state(),
        "host": socket.gethostname(),
        "salt": secrets.token_hex(16),
        "device": device(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": atomic.sources,
        "inputs": [{"path": str(path), "sha256": sha256(path), "record": _digest_of(path)} for path in inputs],
        "outputs": [{"path": str(path), "sha256": sha256(path), "bytes": path.stat().st_size} for path in outputs],
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


def _arguments() -> list[str]:
    """The arguments of the script, without the JSON of --spec, which the record holds as `spec`."""
    after_spec = ["", *sys.argv[1:]]
    return ["..." if before == "--spec" else word for before, word in zip(after_spec, sys.argv[1:], strict=False)]


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
