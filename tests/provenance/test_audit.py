import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import recorded
from recorded import FIRST, JOBS, SECOND
from tokenshift.atomic import atomic_folder
from tokenshift.provenance.audit import Hashes, audit, differing_keys
from tokenshift.provenance.form import digest
from tokenshift.provenance.hashes import sha256
from tokenshift.provenance.lineage import notes
from tokenshift.provenance.plan import Job
from tokenshift.provenance.records import read_record, record_path, rendered


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return recorded.make_both(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of a folder in which two jobs have run, to spoil."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def breaks(folder: Path, jobs: list[Job] = JOBS) -> list[tuple[str, str]]:
    return [(found.file, found.differs) for found in audit(jobs, folder, Hashes()).breaks]


def rewrite(folder: Path, output: str, **changes) -> None:
    """Change a record and give it the digest that fits."""
    file = record_path(folder / output)
    record = read_record(file) | changes
    file.write_text(rendered(record | {"digest": digest(record)}))


def respecified(job: Job, **changes) -> Job:
    """The job with other settings."""
    new = json.dumps(job.spec | changes, sort_keys=True)
    return replace(job, command=job.command.replace(json.dumps(job.spec, sort_keys=True), new))


def test_what_was_made_so_is_sound(folder):
    assert breaks(folder) == []


@pytest.mark.parametrize("output", [FIRST, SECOND])
def test_a_changed_file_is_named(folder, output):
    file = folder / output
    file.write_bytes(file.read_bytes() + b" ")
    assert breaks(folder) == [(output, "changed since it was made")]


@pytest.mark.parametrize("output", [FIRST, SECOND])
def test_a_missing_file_or_record_is_named(folder, output):
    record_path(folder / output).unlink()
    assert breaks(folder) == [(f"{output}.prov.json", "missing")]
    (folder / output).unlink()
    assert breaks(folder) == [(output, "missing")]


def test_other_settings_and_code_today_are_told_by_key(folder):
    entry = JOBS[0].spec["problems"]
    today = [respecified(JOBS[0], problems=entry | {"size": 5}), respecified(JOBS[1], code="0" * 16)]
    code = JOBS[1].spec["code"]
    assert breaks(folder, today) == [
        (FIRST, "problems.size null, today 5"),
        (SECOND, f'made by code "{code}", today "{"0" * 16}"'),
    ]


def test_an_input_that_was_made_again_is_told(folder):
    (folder / "first.jsonl").write_text('{"problem": "2 + 2", "answer": "4"}\n')
    assert recorded.run(JOBS[0], folder).returncode == 0
    assert breaks(folder) == [(SECOND, f"made from another {FIRST} than the one that is there")]


def test_an_edited_record_with_a_digest_that_fits_breaks_the_next_one(folder):
    rewrite(folder, FIRST, host="elsewhere")
    assert breaks(folder) == [(SECOND, f"made when {FIRST} had another record (equal in content)")]


def test_what_an_edited_record_hides_is_found(folder):
    rewrite(folder, SECOND, inputs=[])
    assert breaks(folder) == [(SECOND, f"its record lacks its input {FIRST}")]
    rewrite(folder, SECOND, outputs=[{"path": FIRST, "sha256": "0" * 64, "bytes": 0}])
    assert breaks(folder) == [(f"{SECOND}.prov.json", f"the record of {FIRST}, a file of another study or job")]


def test_what_no_record_covers_is_listed(folder):
    for name in ("logs/a.log", "logs/b.log", "training_state/dapo/k/spec.json", "tables/mine.csv"):
        (folder / "results/mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "results/mine" / name).write_text("")
    (folder / "results/mine/tables/gone.csv").symlink_to("nowhere")
    found = audit(JOBS, folder, Hashes())
    assert found.breaks == []
    assert found.uncovered == [
        "results/mine/logs/ (2 files)",
        "results/mine/tables/gone.csv (a link to nothing)",
        "results/mine/tables/mine.csv",
        "results/mine/training_state/",
    ]
    assert notes(found)[-1] == f"not covered by any record: {', '.join(found.uncovered)}"


def test_packages_other_than_the_locked_are_told(folder):
    environment = read_record(record_path(folder / SECOND))["environment"]
    environment["differing_from_lock"] = {"polars": {"locked": "2", "installed": "1"}}
    rewrite(folder, SECOND, environment=environment)
    assert breaks(folder) == [(SECOND, "made with packages other than those locked: polars 1 for 2")]


def test_an_input_no_longer_taken_is_told(folder):
    alone = replace(JOBS[1], inputs=(), command=JOBS[1].command.replace(f"--exclude {FIRST}", "--exclude "))
    assert breaks(folder, [JOBS[0], alone]) == [
        (SECOND, f"made with --exclude {FIRST}, today "),
        (SECOND, f"made from {FIRST}, which it no longer depends on"),
    ]


def test_each_file_of_a_model_folder_is_checked_against_its_manifest(folder):
    with atomic_folder(folder / "model") as model:
        for name in ("config.json", "model.safetensors", "checkpoints/step-1/model.safetensors"):
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_text(name)
    manifest = "model/manifest.json"
    record = read_record(record_path(folder / FIRST)) | {
        "outputs": [{"path": manifest, "sha256": sha256(folder / manifest), "bytes": 0}]
    }
    record_path(folder / manifest).write_text(rendered(record | {"digest": digest(record)}))
    job = replace(JOBS[0], outputs=(manifest,))
    assert breaks(folder, [job]) == []
    (folder / "model/extra").write_text("x")
    (folder / "model/config.json").unlink()
    (folder / "model/checkpoints/step-1/model.safetensors").write_text("flipped")
    assert breaks(folder, [job]) == [
        ("model/checkpoints/step-1/model.safetensors", "changed since it was made"),
        ("model/config.json", "missing"),
        ("model/extra", "not among the files that the manifest lists"),
    ]


def test_keys_that_differ_are_dotted():
    assert differing_keys({"a": {"b": 1, "c": 2}, "d": None}, {"a": {"b": 1, "c": 3}}) == ["a.c", "d"]


def test_a_hash_is_computed_again_only_when_the_file_changed(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    hashed = Hashes()
    first = hashed(file)
    assert hashed(file) == first
    file.write_text("two")
    assert hashed(file) != first
