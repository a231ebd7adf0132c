"""Rows of the files and data sets that a study is given, each with words for where it stands."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenshift import ledger
from tokenshift.errors import StudyError, nearest
from tokenshift.provenance.hashes import folder_hash, sha256

# What `datasets` calls the formats of single files.
_FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


class Row(NamedTuple):
    """One row of a source: where it stands, and its columns."""

    where: str
    fields: dict[str, Any]


def source_rows(entry: dict[str, Any], where: str) -> Iterator[Row]:
    """Rows of the `jsonl` or `datasets` source of `entry`, a problem set or corpus that the study calls `where`."""
    if entry["jsonl"] is not None:
        return _jsonl_rows(Path(entry["jsonl"]["path"]), f"{where}.jsonl.path")
    return _dataset_rows(**entry["datasets"], where=f"{where}.datasets")


def _jsonl_rows(path: Path, where: str) -> Iterator[Row]:
    if not path.is_file():
        raise StudyError(f"{where}: no file {path}")
    ledger.sources.append({"kind": "file", "path": str(path), "sha256": sha256(path)})
    with open(path, encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    where_in_file = f"{path}, line {number}"
                    yield Row(where_in_file, _parsed(line, where_in_file))
        except UnicodeDecodeError as error:
            raise StudyError(f"{path}: not UTF-8 text ({error})") from None


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise StudyError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(fields, dict):
        raise StudyError(f"{where}: must hold an object with the columns as keys")
    return fields


def _dataset_rows(path: str, name: str | None, split: str, revision: str | None, where: str) -> Iterator[Row]:
    try:
        for number, fields in enumerate(_load(path, name, split, revision)):
            yield Row(f"{path}, row {number}", fields)
    except (OSError, ValueError) as error:
        raise StudyError(f"{where}: cannot read {path}: {' '.join(str(error).split())}") from None


def _load(path: str, name: str | None, split: str, revision: str | None) -> Iterable[dict[str, Any]]:
    import datasets

    local = Path(path)
    if local.is_file():
        ledger.sources.append({"kind": "file", "path": path, "sha256": sha256(local)})
    elif local.is_dir():
        ledger.sources.append({"kind": "folder", "path": path, "sha256": folder_hash(local)})
    if local.is_file() and local.suffix in _FORMATS:
        # Streaming leaves no copy in the cache of `datasets`.
        return datasets.load_dataset(_FORMATS[local.suffix], data_files={split: path}, split=split, streaming=True)
    if (local / "dataset_dict.json").is_file():
        splits = datasets.load_from_disk(path)
        if split not in splits:
            raise ValueError(f"no split '{split}'{nearest(split, splits)}")
        return splits[split]
    if (local / "dataset_info.json").is_file():
        return datasets.load_from_disk(path)
    if local.is_dir():
        return datasets.load_dataset(path, name, split=split, streaming=True)
    if local.suffix in _FORMATS:
        raise ValueError("no such file")
    rows = datasets.load_dataset(path, name, split=split, revision=revision)
    files = sorted(rows.download_checksums or {})
    ledger.sources.append({"kind": "hub data set", "path": path, "revision": revision, "commit": commit_of(files)})
    return rows


def commit_of(files: Iterable[str]) -> str | None:
    """The hub commit that a data set's `files` were downloaded from: hf://datasets/NAME@COMMIT/FILE."""
    commits = {found[1] for file in files if (found := re.search("@([0-9a-f]{40})/", file))}
    return commits.pop() if len(commits) == 1 else None


def text(row: Row, column: str, kind: str, setting: str) -> str:
    """The text (or number, as text) in `column` of `row`, stripped; it holds a `kind`.

    Raises StudyError when the column is missing (`setting` is the study's key that names it), empty, or holds neither.
    """
    where, fields = row.where, row.fields
    if column not in fields:
        raise StudyError(f"{where}: no column '{column}'{nearest(column, fields)} (set {setting})")
    value = fields[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise StudyError(f"{where}: the {kind} in column '{column}' is neither text nor a number")
    found = "" if value is None else str(value).strip()
    if not found:
        raise StudyError(f"{where}: empty {kind} (column '{column}')")
    return found
