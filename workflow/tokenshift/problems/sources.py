"""Rows of the files and data sets that a study is given, each with the words in which messages say where it stands."""

import contextlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tokenshift import atomic
from tokenshift.config.problems import Corpus, HubDataset, ProblemSet
from tokenshift.errors import StudyError, nearest
from tokenshift.provenance.hashes import folder_hash, sha256

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
# The names that `datasets` has for the formats of single files.
_FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}

LONGEST_TEXT = 200_000  # characters of a problem, solution or answer: some 50,000 tokens

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")  # of the path of a column: a key, or a place in a list


class Row(NamedTuple):
    """One row of a source: where it stands, and its columns."""

    where: str
    fields: dict[str, Any]


def source_rows(entry: ProblemSet | Corpus, setting: str) -> Iterator[Row]:
    """Rows of the file (`jsonl`) or data set (`datasets`) that `entry` is read from.

    `setting` is the entry's key in the study file, such as problems.NAME, for messages. Raises StudyError when the
    source cannot be read.
    """
    if entry.jsonl is not None:
        return _jsonl_rows(Path(entry.jsonl.path), f"{setting}.jsonl.path")
    return _dataset_rows(entry.datasets, f"{setting}.datasets")


def _jsonl_rows(path: Path, setting: str) -> Iterator[Row]:
    if not path.is_file():
        raise StudyError(f"{setting}: no file {path}")
    atomic.sources.append({"kind": "file", "path": str(path), "sha256": sha256(path)})
    compression = _COMPRESSIONS.get(path.suffix)
    try:
        # utf-8-sig takes a byte-order mark at the beginning away.
        with pa.input_stream(path, compression=compression) as stream, io.TextIOWrapper(stream, "utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    where = f"{path}, line {number}"
                    yield Row(where, _parsed(line, where))
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not UTF-8 text ({error})") from None
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{path}: cannot be read as {path.suffix} ({error})") from None


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise StudyError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, thousands of brackets
        raise StudyError(f"{where}: JSON that cannot be read ({error})") from None
    if not isinstance(fields, dict):
        raise StudyError(f"{where}: must hold an object with the columns as keys")
    return fields


def _dataset_rows(source: HubDataset, setting: str) -> Iterator[Row]:
    try:
        for number, fields in enumerate(_load(source)):
            yield Row(f"{source.path}, row {number}", fields)
    except (OSError, ValueError) as error:
        raise StudyError(f"{setting}: cannot read {source.path}: {' '.join(str(error).split())}") from None


def _load(source: HubDataset) -> Iterable[dict[str, Any]]:
    """The rows of a data set; its file's or folder's hash, or its commit on the hub, is kept for the record."""
    import datasets

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised as well
    path, split = source.path, source.split
    local = Path(path)
    if local.is_file():
        atomic.sources.append({"kind": "file", "path": path, "sha256": sha256(local)})
    elif local.is_dir():
        atomic.sources.append({"kind": "folder", "path": path, "sha256": folder_hash(local)})
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
        return datasets.load_dataset(path, source.name, split=split, streaming=True)
    if local.suffix in _FORMATS:
        raise ValueError("no such file")
    rows = datasets.load_dataset(path, source.name, split=split, revision=source.revision)
    files = sorted(rows.download_checksums or {})
    atomic.sources.append(
        {"kind": "hub data set", "path": path, "revision": source.revision, "commit": commit_of(files)}
    )
    return rows


def commit_of(files: Iterable[str]) -> str | None:
    """The hub commit that all `files` of a data set (hf://datasets/NAME@COMMIT/FILE) come from, or None."""
    commits = {match[1] for file in files if (match := re.search("@([0-9a-f]{40})/", file))}
    return commits.pop() if len(commits) == 1 else None


def text(row: Row, column: str, kind: str, setting: str) -> str:
    """The text, or number as text, in `column` of `row`, without surrounding whitespace.

    `kind` says what the column holds, and `setting` is the study's key that names the column, both for messages.
    Raises StudyError when the column is missing or empty, or holds neither text nor a number.
    """
    where = row.where
    value = _at(row, column, setting)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise StudyError(f"{where}: the {kind} in column '{column}' is neither text nor a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise StudyError(f"{where}: the {kind} in column '{column}' is {value}, which is no number")
    stripped = "" if value is None else str(value).strip()
    if not stripped:
        raise StudyError(f"{where}: empty {kind} (column '{column}')")
    if len(stripped) > LONGEST_TEXT:
        raise StudyError(
            f"{where}: the {kind} in column '{column}' has {len(stripped)} characters, more than {LONGEST_TEXT}"
        )
    try:
        stripped.encode()
    except UnicodeEncodeError as error:
        raise StudyError(
            f"{where}: the {kind} in column '{column}' holds {stripped[error.start]!r}, half of a character"
        ) from None
    return stripped


def _at(row: Row, column: str, setting: str) -> Any:
    """The value of `column`: a key of the row, or a path through its values, such as prompt[0].content."""
    if column in row.fields:
        return row.fields[column]
    value, path = row.fields, ""
    for name, index in _STEP.findall(column):
        step = name or int(index)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON within a column
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(value)
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if step not in known:
            near = nearest(str(step), value) if isinstance(value, dict) else ""
            within = f": '{path}' holds no '{step}'" if path else ""
            raise StudyError(f"{row.where}: no column '{column}'{within}{near} (set {setting})")
        value, path = value[step], f"{path}[{step}]" if name == "" else f"{path}.{step}".lstrip(".")
    return value
