"""What a record holds: its keys and types, and what of it concerns nobody else."""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class Input(_Part):
    """A file that a job was given, and the digest of its record where it had one."""

    path: str
    sha256: Sha256
    record: str | None


class Output(_Part):
    """A file that a job wrote."""

    path: str
    sha256: Sha256
    bytes: int


class Environment(_Part):
    """Python and packages; `differing_from_lock` has both versions of each package that is not the locked one."""

    python: str
    packages: dict[str, str]
    differing_from_lock: dict[str, dict[str, str | None]]


class Git(_Part):
    """The commit of the code and its changed files, where git could tell."""

    commit: str | None
    changed: list[str] | None


class Device(_Part):
    """Names of the processor and of the GPUs used."""

    cpu: str
    gpus: list[str]


class Source(_Part):
    """What came from outside the study."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, str | None]

    kind: str
    path: str


Time = Annotated[datetime, Field(strict=False)]


class Record(_Part):
    """The record of a job (tokenshift.provenance.records.write_records)."""

    version: int
    schema_version: int
    script: str
    arguments: list[str]
    spec: dict[str, Any]
    seeds: dict[str, int]
    code: str
    environment: Environment
    git: Git
    host: str
    salt: str | None
    device: Device
    processes: int
    slurm_job: str | None
    started: Time
    ended: Time
    sources: list[Source]
    inputs: list[Input]
    outputs: list[Output] = Field(min_length=1)
    digest: Sha256


RECORD = TypeAdapter(Record)


def withheld(record: dict[str, Any]) -> dict[str, Any]:
    """`record` as it can be shown to anyone: host and absolute paths, which tell of users, are hashes with its salt.

    The salt is left out, so that no one can try names; a record that is withheld already stays as it is. Both forms of
    a record have the same digest.
    """
    salt = record.get("salt")
    if salt is None:
        return record
    return without_paths(record, salt) | {"host": _hashed(str(record.get("host")), salt), "salt": None}


def without_paths(value: Any, salt: str) -> Any:
    """`value`, of JSON, with each text that is an absolute path replaced by a hash."""
    if isinstance(value, dict):
        return {key: without_paths(inner, salt) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner, salt) for inner in value]
    return _hashed(value, salt) if _is_path(value) else value


def absolute_paths(value: Any) -> set[str]:
    """The texts in `value`, of JSON, that are absolute paths."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return {path for part in inner for path in absolute_paths(part)}
    return {value} if _is_path(value) else set()


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "~")) and len(value) > 1


def _hashed(text: str, salt: str) -> str:
    return f"withheld:{hashlib.sha256(f'{salt} {text}'.encode()).hexdigest()[:16]}"


def digest(record: dict[str, Any]) -> str:
    """SHA-256 of all of a record but its own digest, host and paths as they are shown to anyone."""
    rest = {key: value for key, value in withheld(record).items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
