"""Whether every file of a study is what its record says, and was made as today's code and settings would make it.

Which job makes which file, and from what, is Snakemake's plan of today (provenance.plan). Each file must have the hash
in the record beside it, each input the hash in the record of the job that made it, and the settings, code and
environment in every record must be today's.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import sha256
from tokenshift.provenance.plan import Job, options
from tokenshift.provenance.records import described_files, model_files, read_record, record_path

WITHOUT_RESULTS = ("logs", "benchmarks", "training_state")  # folders of a study that no result is in
# Arguments of a script on which no result depends; --spec is compared key by key.
IRRELEVANT = {"--spec", "--state", "--local_rank"}


@dataclass(frozen=True)
class Break:
    """One thing that is not as it should be: the file, what differs, and what to do."""

    file: str
    differs: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.differs}; {self.remedy}"


@dataclass
class Audit:
    """What an audit found: the jobs, the sound record of each output that has one, and the breaks.

    uncovered: what lies in the study's folder and is checked by nothing: of folders that hold no results, one entry.
    """

    jobs: list[Job]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    files: int = 0
    uncovered: list[str] = field(default_factory=list)

    @property
    def makers(self) -> dict[str, Job]:
        """The job that makes each file."""
        return {output: job for job in self.jobs for output in job.outputs}


class Hashes:
    """SHA-256 of files, computed once while a file's size, time of change and inode stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple, str] = {}

    def __call__(self, path: Path) -> str:
        """SHA-256 of the file at `path`."""
        state = os.stat(path)
        key = (str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        if key not in self._known:
            self._known[key] = sha256(path)
        return self._known[key]


def audit(jobs: Iterable[Job], root: Path, hashed: Hashes) -> Audit:
    """Check each of `jobs` (tokenshift.provenance.plan.whole_plan) against the files and records under `root`."""
    result = Audit([job for job in jobs if job.outputs])
    for job in result.jobs:
        for output in job.outputs:
            _check_file(output, job, root, hashed, result)
    result.uncovered = _uncovered(result.jobs, root)
    for job in result.jobs:
        outputs = [output for output in job.outputs if output in result.records]
        for output in outputs[:1]:
            result.breaks += [Break(output, *what) for what in _differences(output, job, result)]
        for output in outputs[1:]:
            if result.records[output] != result.records[outputs[0]]:
                record = str(record_path(output))
                result.breaks.append(Break(record, f"another than that of {outputs[0]}, of one job", _remake(output)))
    return result


def _uncovered(jobs: list[Job], root: Path) -> list[str]:
    """Files in the study's folder that are neither outputs of `jobs` nor their records nor in a model's folder."""
    outputs = [Path(output) for job in jobs for output in job.outputs]
    covered = {*outputs, *map(record_path, outputs)}
    models = {output.parent for output in outputs if output.name == "manifest.json"}
    studies = {Path(*output.parts[:2]) for output in outputs if output.parts[0] == "results"}
    found: Counter[str] = Counter()
    for folder, _, names in (entry for study in studies for entry in os.walk(root / study)):
        within = Path(folder).relative_to(root)
        if models & {within, *within.parents}:
            continue
        for file in (within / name for name in names if within / name not in covered):
            broken_link = "" if (root / file).exists() else " (a link to nothing)"
            resultless = len(file.parts) > 3 and file.parts[2] in WITHOUT_RESULTS
            found[f"{Path(*file.parts[:3])}/" if resultless else f"{file}{broken_link}"] += 1
    return [name if count == 1 else f"{name} ({count} files)" for name, count in sorted(found.items())]


def _check_file(output: str, job: Job, root: Path, hashed: Hashes, result: Audit) -> None:
    """Keep the record of `output` in `result` if file and record are sound, else add what is wrong with them."""
    path, record_file = root / output, root / record_path(output)
    result.files += 1
    if not path.is_file():
        result.breaks.append(Break(output, "missing", "make it with `snakemake`"))
        return
    if job.script is None:
        return
    if not record_file.is_file():
        result.breaks.append(Break(str(record_path(output)), "missing", _remake(output)))
        return
    try:
        record = read_record(record_file)
    except StudyError as error:
        differs, _, _ = str(error).removeprefix(f"{record_file}: ").partition(";")
        result.breaks.append(Break(str(record_path(output)), differs, _remake(output)))
        return
    result.records[output] = record
    recorded = {entry["path"]: entry["sha256"] for entry in record["outputs"]}
    if output not in recorded:
        others = ", ".join(recorded)
        result.breaks.append(
            Break(str(record_path(output)), f"the record of {others}, a file of another study or job", _remake(output))
        )
        del result.records[output]
    elif hashed(path) != recorded[output]:
        result.breaks.append(Break(output, "changed since it was made", _remake(output)))
    elif path.name == "manifest.json":
        _check_folder(output, root, hashed, result)


def _check_folder(manifest: str, root: Path, hashed: Hashes, result: Audit) -> None:
    """Add a break for each file of a model folder that its (unchanged) manifest does not describe, or that is gone."""
    folder = (root / manifest).parent
    try:
        described = described_files(root / manifest)
    except StudyError:
        result.breaks.append(Break(manifest, "not the manifest of a model", _remake(manifest)))
        return
    there = model_files(root / manifest)
    result.files += len(there)
    for name in sorted(described.keys() | there):
        file = str(Path(manifest).parent / name)
        if name not in there:
            result.breaks.append(Break(file, "missing", _remake(manifest)))
        elif name not in described:
            result.breaks.append(Break(file, "not among the files that the manifest lists", "move it elsewhere"))
        elif hashed(folder / name) != described[name]:
            result.breaks.append(Break(file, "changed since it was made", _remake(manifest)))


def _differences(output: str, job: Job, result: Audit) -> Iterable[tuple[str, str]]:
    """What differs between the record of `output`, today's job and the records of its inputs; each with a remedy."""
    record = result.records[output]
    rerun = "run `snakemake`, which makes it again"
    spec = job.spec
    for key in differing_keys(record["spec"], spec):
        yield f"{WORDS.get(key, key)} {_at(record['spec'], key)}, today {_at(spec, key)}", rerun
    if record["script"] != job.script:
        yield f"made by {record['script']}, today by {job.script}", rerun
    if record["code"] != record["spec"].get("code", record["code"]):
        yield "its code was edited between its planning and its run", _remake(output)
    packages = record["environment"]["differing_from_lock"]
    if packages:
        listed = ", ".join(f"{name} {both['installed']} for {both['locked']}" for name, both in packages.items())
        yield f"made with packages other than those locked: {listed}", f"install those locked, then {_remake(output)}"
    made, today = (_relevant(arguments) for arguments in (options(record["arguments"]), job.arguments))
    for name in sorted(made.keys() | today.keys()):
        if made.get(name) != today.get(name):
            yield f"made with {name} {_shown(made, name)}, today {_shown(today, name)}", rerun
    inputs = {entry["path"]: entry for entry in record["inputs"]}
    for path in sorted(inputs.keys() | set(job.read)):
        if path not in inputs:
            yield f"its record lacks its input {path}", _remake(output)
        elif path not in job.read:
            yield f"made from {path}, which it no longer depends on", rerun
        elif path in result.records:
            yield from _edge(output, inputs[path], result.records[path])


def _edge(output: str, taken: dict[str, Any], upstream: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """What differs between an input as `output` was made from it and as the record of the job that made it says."""
    made = {entry["path"]: entry["sha256"] for entry in upstream["outputs"]}
    if taken["sha256"] != made[taken["path"]]:
        yield f"made from another {taken['path']} than the one that is there", _remake(output)
    elif taken["record"] != upstream["digest"]:
        yield f"made when {taken['path']} had another record (equal in content)", _remake(output)


WORDS = {"code": "made by code", "environment": "made in environment", "source": "made from data"}


def differing_keys(made: dict[str, Any], today: dict[str, Any], within: str = "") -> list[str]:
    """Dotted keys at which two nested mappings differ."""
    keys = []
    for key in sorted(made.keys() | today.keys()):
        old, new = made.get(key), today.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            keys += differing_keys(old, new, f"{within}{key}.")
        elif old != new or (key in made) != (key in today):
            keys.append(f"{within}{key}")
    return keys


def _at(value: Any, key: str) -> str:
    """The value at a dotted key, as text; names may hold no dots."""
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return json.dumps(value)


def _relevant(arguments: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in arguments.items() if name not in IRRELEVANT}


def _shown(arguments: dict[str, list[str]], name: str) -> str:
    return " ".join(arguments[name]) if name in arguments else "absent"


def _remake(output: str) -> str:
    return f"make it again: `snakemake --forcerun {output}`"
