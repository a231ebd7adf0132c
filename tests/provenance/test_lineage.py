from pathlib import Path

import pytest

import recorded
from recorded import FIRST, JOBS, SECOND
from tokenshift.provenance.audit import Audit, Hashes, audit
from tokenshift.provenance.lineage import chain, commit, device, fingerprint, notes, page, summary, tree


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return recorded.make_both(tmp_path_factory.mktemp("made"))


@pytest.fixture
def sound(made) -> Audit:
    return audit(JOBS, made, Hashes())


def test_the_chain_leads_from_the_last_file_to_the_first(sound):
    assert [(depth, job.outputs, known) for depth, job, known in chain(sound)] == [
        (0, (SECOND,), False),
        (1, (FIRST,), False),
    ]
    lines = tree(sound).splitlines()
    assert lines[0] == "problems/second.parquet"
    assert lines[1].startswith("  | rule problems, script workflow/scripts/problems.py, sha256 ")
    assert "seed problems.reasoning_gym.7" in lines[1]
    assert lines[2] == "  problems/first.parquet"
    assert "source file first.jsonl" in lines[3]


def test_the_order_of_jobs_changes_no_chain_and_each_last_job_begins_one(made, sound):
    backwards = audit(JOBS[::-1], made, Hashes())
    assert list(chain(backwards)) == list(chain(sound))
    apart = audit([recorded.job(FIRST), recorded.job(SECOND)], made, Hashes())
    assert [(depth, job.outputs) for depth, job, _ in chain(apart)] == [(0, (FIRST,)), (0, (SECOND,))]


def test_a_break_is_shown_where_it_is_and_in_the_verdict(made):
    file = made / FIRST
    before = file.read_bytes()
    file.write_bytes(before + b" ")
    broken = audit(JOBS, made, Hashes())
    file.write_bytes(before)
    said = f"! {FIRST}: changed since it was made; make it again: `snakemake --forcerun {FIRST}`"
    assert tree(broken).splitlines()[-1] == f"    {said}"
    assert summary(broken).splitlines()[-2:] == [said, "1 breaks in 2 jobs, 2 files"]
    assert f"<li>{FIRST}: changed since it was made" in page(broken, "mine")


def test_the_hash_of_all_records_changes_with_any_of_them(sound):
    before = fingerprint(sound)
    assert summary(sound).endswith(before)
    sound.records[FIRST] = sound.records[FIRST] | {"digest": "0" * 64}
    assert fingerprint(sound) != before


def test_a_revision_that_is_not_a_commit_is_noted(sound):
    hub = {"kind": "hub model", "path": "org/model", "commit": "a" * 40}
    for revision, noted in (("main", True), ("a" * 40, False)):
        sound.records[FIRST] = sound.records[FIRST] | {"sources": [hub | {"revision": revision}]}
        line = f"not pinned: org/model at revision main, which was commit {'a' * 40}"
        assert (line in notes(sound)) == noted


def test_commit_and_device_in_words():
    assert commit({"git": {"commit": None, "changed": None}}) == "unknown"
    assert commit({"git": {"commit": "a" * 40, "changed": []}}) == "a" * 10
    assert commit({"git": {"commit": "a" * 40, "changed": ["x", "y"]}}) == f"{'a' * 10} with 2 changed files"
    assert device({"device": {"cpu": "Xeon", "gpus": []}}) == "Xeon"
    assert device({"device": {"cpu": "Xeon", "gpus": ["H100", "H100"]}}) == "2 x H100"
