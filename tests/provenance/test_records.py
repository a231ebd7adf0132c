"""Records as a real script writes them, and what is made of records that were edited or belong elsewhere."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import recorded
from recorded import FIRST, ROOT, SCRIPT, SECOND, spec
from tokenshift import atomic
from tokenshift.errors import StudyError
from tokenshift.provenance import hashes
from tokenshift.provenance.hashes import LIBRARY, code_files, code_hash, sha256
from tokenshift.provenance.records import (
    RECORD_VERSION,
    digest,
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
    assert second["outputs"] == [{"path": SECOND, "sha256": sha256(made / SECOND)}]
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


@pytest.mark.parametrize("change", [lambda text: text + " ", lambda text: text[:-9], lambda text: "[]"])
def test_a_record_with_other_bytes_is_refused(made, tmp_path, change):
    file = tmp_path / "given.parquet.prov.json"
    file.write_text(change(record_path(made / FIRST).read_text()))
    with pytest.raises(StudyError, match="edited since it was written"):
        read_record(file)


def rewritten(record: dict, **changes) -> str:
    """A record with `changes` and a digest that fits them."""
    record = record | changes
    return rendered(record | {"digest": digest(record)})


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
    file.write_text(rewritten(record, version=RECORD_VERSION + 1))
    with pytest.raises(StudyError, match=f"newer than the version {RECORD_VERSION} of this code"):
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
