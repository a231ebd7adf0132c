"""Records as a real script writes them, and what is made of records that were edited or belong elsewhere."""

import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import recorded
from recorded import FIRST, ROOT, SCRIPT, SECOND, spec
from tokenshift import atomic
from tokenshift.errors import StudyError
from tokenshift.provenance import hashes
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.form import digest, withheld
from tokenshift.provenance.hashes import LIBRARY, code_files, code_hash, sha256
from tokenshift.provenance.records import (
    RECORD_VERSION,
    SUFFIX,
    described_files,
    read_record,
    record_path,
    rendered,
    require_own,
    seeds,
    write_records,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder in which two jobs have run."""
    return recorded.make_both(tmp_path_factory.mktemp("made"))


def test_a_record_says_what_ran_on_what(made):
    first, second = (read_record(record_path(made / output)) for output in (FIRST, SECOND))
    assert second["script"] == "workflow/scripts/problems.py"
    assert second["spec"] == spec("second")
    assert second["seeds"] == {"problems.reasoning_gym.seed": 7}
    assert second["code"] == code_hash(SCRIPT)
    size = (made / SECOND).stat().st_size
    assert second["outputs"] == [{"path": SECOND, "sha256": sha256(made / SECOND), "bytes": size}]
    assert second["arguments"] == ["--spec", "...", "--exclude", FIRST, "--output", SECOND]
    assert second["inputs"] == [{"path": FIRST, "sha256": sha256(made / FIRST), "record": first["digest"]}]
    assert first["sources"] == [{"kind": "file", "path": "first.jsonl", "sha256": sha256(made / "first.jsonl")}]
    assert second["environment"]["lock_sha256"] == sha256(ROOT / "requirements.lock")
    assert second["environment"]["differing_from_lock"] == {}
    assert second["environment"]["packages"]["polars"]
    assert second["started"] <= second["ended"]
    assert second["host"]
    assert second["device"]["cpu"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record | {"host": "elsewhere"},
        lambda record: record | {"outputs": []},
        lambda record: record | {"digest": "0" * 64},
    ],
    ids=["host", "outputs", "digest"],
)
def test_an_edited_record_is_refused(made, tmp_path, edit):
    file = tmp_path / "given.parquet.prov.json"
    file.write_text(rendered(edit(read_record(record_path(made / FIRST)))))
    with pytest.raises(StudyError, match="edited since it was written"):
        read_record(file)


@pytest.mark.parametrize(
    "change", [lambda text: text + " ", lambda text: text[:-9], lambda text: "[]", lambda text: "[" * 100_000]
)
def test_a_record_with_other_bytes_is_refused(made, tmp_path, change):
    file = tmp_path / "given.parquet.prov.json"
    file.write_text(change(record_path(made / FIRST).read_text()))
    with pytest.raises(StudyError, match="edited since it was written"):
        read_record(file)


def rewritten(record: dict, **changes) -> str:
    """A record with `changes` and a digest that fits them."""
    record = record | changes
    return rendered(record | {"digest": digest(record)})


MALFORMED = {
    "no outputs": {"outputs": []},
    "outputs no list": {"outputs": "results/mine/problems/first.parquet"},
    "an output without its hash": {"outputs": [{"path": FIRST}]},
    "an output that is a text": {"outputs": [FIRST]},
    "a hash that is none": {"outputs": [{"path": FIRST, "sha256": "../..", "bytes": 1}]},
    "inputs null": {"inputs": None},
    "an input without a path": {"inputs": [{"sha256": "0" * 64, "record": None}]},
    "an input's record a number": {"inputs": [{"path": FIRST, "sha256": "0" * 64, "record": 3}]},
    "spec no mapping": {"spec": [1, 2]},
    "seeds no numbers": {"seeds": {"seed": "seven"}},
    "git a text": {"git": "main"},
    "changed files a number": {"git": {"commit": None, "changed": 3}},
    "device without gpus": {"device": {"cpu": "a"}},
    "environment empty": {"environment": {}},
    "started no time": {"started": "yesterday"},
    "sources of numbers": {"sources": [1]},
    "a source without a kind": {"sources": [{"path": "a"}]},
    "arguments null": {"arguments": None},
    "schema version a text": {"schema_version": "three"},
    "version a truth value": {"version": True},
    "host a list": {"host": []},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_record_whose_digest_fits_is_named(made, tmp_path, monkeypatch, changes):
    shutil.copytree(made / "results", tmp_path / "results")
    file = record_path(tmp_path / FIRST)
    file.write_text(rewritten(read_record(file), **changes))
    with pytest.raises(StudyError, match=r"first\.parquet\.prov\.json: .*; make its output again") as told:
        read_record(file)
    assert "\n" not in str(told.value)
    (broken,) = [found for found in audit(recorded.JOBS, tmp_path, Hashes()).breaks if found.file.endswith(SUFFIX)]
    assert broken.file == f"{FIRST}{SUFFIX}"
    monkeypatch.chdir(tmp_path)
    require_own(Path("results/mine"))


def test_a_record_without_a_key_is_named(made, tmp_path):
    file = tmp_path / "given.parquet.prov.json"
    record = read_record(record_path(made / FIRST))
    for key in record.keys() - {"salt", "digest", "version"}:
        file.write_text(rewritten({name: value for name, value in record.items() if name != key}))
        with pytest.raises(StudyError, match=rf"a broken record \({key}: Field required\)"):
            read_record(file)


def test_what_concerns_nobody_else_is_withheld_without_another_digest(made, tmp_path):
    record = read_record(record_path(made / FIRST))
    record["sources"] = [{"kind": "file", "path": "/home/someone/data.jsonl", "sha256": "0" * 64}]
    shown = withheld(record | {"digest": digest(record)})
    text = rendered(shown)
    assert "someone" not in text
    assert record["host"] not in text
    assert shown["salt"] is None
    file = tmp_path / "given.parquet.prov.json"
    file.write_text(text)
    assert read_record(file)["digest"] == digest(record)
    assert digest(record | {"host": "elsewhere"}) != digest(record)
    assert withheld(shown) == shown


def changed(folder: Path) -> Path:
    """A problem set that lost its last row, beside the record of the whole one."""
    rows = pq.read_table(folder / FIRST)
    pq.write_table(rows.slice(0, len(rows) - 1), folder / FIRST)
    return folder / FIRST


def another(folder: Path) -> Path:
    """Another job's output with its record in a file's place."""
    for suffix in ("", SUFFIX):
        shutil.copy(folder / f"{SECOND}{suffix}", folder / f"{FIRST}{suffix}")
    return folder / FIRST


def cut_short(folder: Path) -> Path:
    content = (folder / FIRST).read_bytes()
    (folder / FIRST).write_bytes(content[: len(content) // 2])
    return folder / FIRST


@pytest.mark.parametrize("damage", [changed, another, cut_short])
def test_a_job_refuses_an_input_that_is_not_what_its_record_says(made, tmp_path, damage):
    shutil.copytree(made / "results", tmp_path / "results")
    second = (tmp_path / SECOND).read_bytes()
    damage(tmp_path)
    result = recorded.run(recorded.JOBS[1], tmp_path)
    assert result.returncode == 1
    assert re.search(f"^error: .*{FIRST}.*make it again: `snakemake --forcerun {FIRST}`\n$", result.stderr)
    assert (tmp_path / SECOND).read_bytes() == second


def test_a_model_folder_that_is_not_what_its_manifest_says_is_refused(tmp_path):
    with atomic.atomic_folder(tmp_path / "model") as folder:
        (folder / "model.safetensors").write_text("weights")
    manifest = tmp_path / "model/manifest.json"
    described_files(manifest)
    for content in ("[]", "{}", '{"sha256": []}', '{"sha256": {"a": 1}}', "[" * 100_000, "no JSON"):
        manifest.write_text(content)
        with pytest.raises(StudyError, match="not the manifest of a model"):
            described_files(manifest)


def test_a_folder_in_a_file_s_place_is_refused(tmp_path):
    (tmp_path / "results/mine/tables/sparsity.csv").mkdir(parents=True)
    with pytest.raises(StudyError, match=r"sparsity\.csv is a folder where a file should be; delete it"):
        require_own(tmp_path / "results/mine")


def test_a_job_refuses_an_input_with_an_edited_record_before_it_computes(made, tmp_path):
    (tmp_path / FIRST).parent.mkdir(parents=True)
    shutil.copy(made / FIRST, tmp_path / FIRST)
    record_path(tmp_path / FIRST).write_text(record_path(made / FIRST).read_text().replace("problems.py", "problem.py"))
    result = recorded.run(recorded.JOBS[1], tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {record_path(FIRST)}: edited since it was written")
    assert not (tmp_path / SECOND).exists()


def test_a_folder_with_results_of_newer_code_is_refused(made, tmp_path):
    file = tmp_path / "results/mine/a.csv.prov.json"
    file.parent.mkdir(parents=True)
    record = read_record(record_path(made / FIRST))
    for changes in ({"version": RECORD_VERSION + 1}, {"schema_version": 99}):
        file.write_text(rewritten(record, **changes))
        with pytest.raises(StudyError, match="holds results of newer code"):
            require_own(tmp_path / "results/mine")
    for version, words in ((RECORD_VERSION + 1, "newer than the version"), (1, "which this code does not read any")):
        file.write_text(rewritten(record, version=version))
        with pytest.raises(StudyError, match=words):
            read_record(file)


def test_a_folder_with_results_of_another_study_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    require_own(Path("results/mine"))
    other = tmp_path / "results/other"
    other.mkdir(parents=True)
    (other / "given.parquet.prov.json").write_bytes(record_path(FIRST).read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=r"holds results of another study: .* is the record of results/mine/problems"):
        require_own(Path("results/other"))


def test_a_failed_job_leaves_no_record(tmp_path):
    result = recorded.run(recorded.JOBS[0], tmp_path)
    assert result.stderr == "error: problems.first.jsonl.path: no file first.jsonl\n"
    assert not list(tmp_path.rglob("*.prov.json"))


def test_a_process_that_wrote_nothing_leaves_no_record(tmp_path, monkeypatch):
    written_by_the_first = tmp_path / "model.csv"
    written_by_the_first.write_text("a\n")
    monkeypatch.setattr(sys, "argv", ["rl.py", "--output", str(written_by_the_first)])
    monkeypatch.setattr(atomic, "written", [])
    write_records(datetime.now(UTC))
    assert not record_path(written_by_the_first).exists()


def test_seeds_are_found_wherever_they_stand():
    assert seeds({"seed": 1, "rl": {"seed": 2, "steps": 3}, "name": "x"}) == {"seed": 1, "rl.seed": 2}


def test_no_result_depends_on_the_modules_that_record_and_report(tmp_path, monkeypatch):
    library = tmp_path / "tokenshift"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(hashes, "LIBRARY", library)
    code = {}
    for edited in ("nothing", "provenance/records.py", "progress.py", "artifacts.py"):
        script = tmp_path / edited / "problems.py"
        script.parent.mkdir(parents=True)
        shutil.copy(SCRIPT, script)
        if edited != "nothing":
            (library / edited).write_text((library / edited).read_text() + "\nEDITED = True\n")
        code[edited] = code_hash(script)
    assert code["nothing"] == code["provenance/records.py"] == code["progress.py"] != code["artifacts.py"]


def test_scores_do_not_depend_on_how_responses_are_decoded():
    scripts = (ROOT / "workflow/scripts" / f"{name}.py" for name in ("score", "checkpoint_scores"))
    modules = {file.stem for script in scripts for file in code_files(script)}
    assert {"forward", "divergence"} <= modules
    assert modules.isdisjoint({"generation", "cached_policy", "kv_cache", "decoder", "progress"})
