"""What is recorded of models and data sets that come from outside."""

import json

import processes
from tiny_models import save_tokenizer, tiny_policy
from tokenshift.config.models import Pretrained
from tokenshift.config.specs import FetchSpec
from tokenshift.policies.sources import resolved
from tokenshift.problems.sources import commit_of
from tokenshift.provenance.hashes import sha256
from tokenshift.provenance.records import read_record


def test_a_linked_model_is_recorded_with_its_source_and_the_hash_of_each_file(tmp_path, monkeypatch):
    source = tmp_path / "source"
    tiny_policy(0).model.save_pretrained(source)
    save_tokenizer(source, "0123456789+= ")
    for name in ("manifest.json", "manifest.json.prov.json"):  # as of a model that another study made
        (source / name).write_text("{}")
    spec = FetchSpec(code="", environment="", pretrained=Pretrained(path=str(source)))
    monkeypatch.chdir(tmp_path)
    given = ["--spec", json.dumps(spec.plain()), "--output", "model"]
    processes.run(1, tmp_path / "log", processes.script, "fetch_model.py", given)
    manifest = tmp_path / "model/manifest.json"
    hashes = json.loads(manifest.read_text())["sha256"]
    assert hashes["model.safetensors"] == sha256(source / "model.safetensors")
    assert hashes.keys() == {file.name for file in source.iterdir()} - {"manifest.json", "manifest.json.prov.json"}
    record = read_record(f"{manifest}.prov.json")
    assert record["sources"] == [{"kind": "folder", "path": str(source), "resolved": str(source)}]
    assert record["outputs"] == [
        {"path": "model/manifest.json", "sha256": sha256(manifest), "bytes": manifest.stat().st_size}
    ]


def test_the_commit_of_a_hub_model_is_the_name_of_its_snapshot(tmp_path):
    snapshot = tmp_path / "snapshots" / ("a" * 40)
    assert resolved("org/model", "main", snapshot) == {
        "kind": "hub model",
        "path": "org/model",
        "revision": "main",
        "commit": "a" * 40,
    }


def test_the_commit_of_a_hub_data_set_is_that_of_its_files():
    commit = "0123456789" * 4
    assert commit_of([f"hf://datasets/org/set@{commit}/data/{name}.parquet" for name in "ab"]) == commit
    assert commit_of([f"hf://datasets/org/set@{commit}/a", f"hf://datasets/org/set@{'f' * 40}/a"]) is None
    assert commit_of(["https://example.org/a.csv"]) is None
