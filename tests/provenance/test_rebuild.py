from dataclasses import replace

from recorded import JOBS, ROOT, spec
from tokenshift.config.loading import load_study
from tokenshift.provenance.hashes import file_hash
from tokenshift.provenance.plan import Job
from tokenshift.provenance.rebuild import difference, local_sources, model_jobs


def test_where_two_files_first_differ_is_told(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("a,b\n1,2\n")
    for text, where in (
        ("a,b\n1,3\n", "byte 6, line 2"),
        ("a,b\n", "byte 4, line 2"),
        ("a,b\n1,2\n\n", "byte 8, line 3"),
    ):
        new.write_text(text)
        assert difference(old, new, "t.csv") == f"t.csv: {len(text)} bytes, published 8; they first differ at {where}"
    new.write_bytes(old.read_bytes())
    assert difference(old, new, "t.csv") is None


def test_jobs_that_run_models_are_told_by_their_environment():
    def job(stack: str) -> Job:
        environment = file_hash(ROOT / "envs" / f"{stack}.yaml")
        command = JOBS[0].command.replace(spec("first")["environment"], environment)
        return replace(JOBS[0], rule=stack, command=command)

    jobs = [job(stack) for stack in ("data", "inference", "training", "analysis")]
    assert [found.rule for found in model_jobs(jobs, ROOT)] == ["inference", "training"]


def test_local_sources_are_the_files_within_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert local_sources(load_study("miniature")) == []
    assert local_sources(load_study("paper")) == []
