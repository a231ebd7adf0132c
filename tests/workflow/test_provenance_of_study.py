"""The tiny study's provenance: its audit, tampered files, figures made again, and its crate."""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import rocrate
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity
from urllib3 import HTTPResponse

from checkouts import Checkout
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.lineage import page, summary, tree
from tokenshift.provenance.plan import Job, whole_plan
from tokenshift.provenance.records import read_record, record_path

pytestmark = pytest.mark.study

STUDY = "tests/workflow/tiny.yaml"
RESULTS = "results/tiny"


@pytest.fixture(scope="module")
def jobs(finished) -> list[Job]:
    return whole_plan(finished.root, STUDY)


def script(checkout: Checkout, name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run one of the scripts that `make` calls."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.root / "workflow")}
    command = [sys.executable, f"workflow/scripts/{name}.py", "--study", STUDY, *arguments]
    return subprocess.run(command, cwd=checkout.root, env=environment, capture_output=True, text=True, check=False)


def test_a_finished_study_is_sound(finished, jobs):
    found = audit(jobs, finished.root, Hashes())
    assert found.breaks == []
    assert "sound" in summary(found)
    scripted = [job for job in jobs if job.script]
    assert found.records.keys() == {output for job in scripted for output in job.outputs}


def one_of_each_kind(root: Path, jobs: list[Job]) -> list[Path]:
    """Files of every stage and form: outputs, their records, and the files of model folders."""
    outputs = [root / output for job in jobs if job.script for output in job.outputs]
    inside = [file for output in outputs if output.name == "manifest.json" for file in output.parent.rglob("*")]
    files = [file for file in (*outputs, *map(record_path, outputs), *inside) if file.is_file()]

    def kind(file: Path) -> tuple[str, str]:
        return file.relative_to(root / RESULTS).parts[0], file.name if "models" in file.parts else file.suffixes[-1]

    first_three: dict[tuple[str, str], list[Path]] = {}
    for file in dict.fromkeys(files):
        chosen = first_three.setdefault(kind(file), [])
        if len(chosen) < 3:
            chosen.append(file)
    return [file for chosen in first_three.values() for file in chosen]


def test_one_flipped_byte_is_found_in_every_kind_of_file_and_nowhere_else(finished, jobs):
    files = one_of_each_kind(finished.root, jobs)
    forms = {file.name if "models" in file.parts else file.suffix for file in files}
    assert forms >= {".parquet", ".csv", ".pdf", ".png", ".json", "model.safetensors", "config.json", "tokenizer.json"}
    assert len(files) >= 30
    hashed = Hashes()
    for file in files:
        before = file.read_bytes()
        middle = len(before) // 2
        file.write_bytes(before[:middle] + bytes([before[middle] ^ 1]) + before[middle + 1 :])
        try:
            named = {found.file for found in audit(jobs, finished.root, hashed).breaks}
        finally:
            file.write_bytes(before)
        assert named == {str(file.relative_to(finished.root))}
    assert audit(jobs, finished.root, hashed).breaks == []


def test_a_file_that_is_gone_is_named(finished, jobs):
    for name in (
        f"{RESULTS}/tables/sparsity.csv",
        f"{RESULTS}/models/base/tokenizer.json",
        f"{RESULTS}/preflight.json",
    ):
        file = finished.root / name
        hidden = file.rename(file.with_name(".hidden"))
        named = {found.file for found in audit(jobs, finished.root, Hashes()).breaks}
        hidden.rename(file)
        assert named >= {name}
        assert named <= {name, f"{RESULTS}/models/base/.hidden"}


def test_the_chain_of_a_figure_goes_back_to_the_problems(finished):
    result = script(finished, "audit", "--figure", "sparsity")
    assert result.returncode == 0, result.stderr
    for name in (
        "figures/sparsity.pdf",
        "tables/sparsity.csv",
        "models/dapo-s1/manifest.json",
        "problems/train.parquet",
    ):
        assert name in result.stdout
    assert "tables/training.csv" not in result.stdout
    assert "sound: " in result.stdout


def test_a_broken_chain_ends_with_status_1_and_is_marked_where_it_breaks(finished):
    table = finished.root / RESULTS / "tables/sparsity.csv"
    before = table.read_bytes()
    table.write_bytes(before + b"\n")
    try:
        whole, figure = (script(finished, "audit", *arguments) for arguments in ((), ("--figure", "sparsity")))
    finally:
        table.write_bytes(before)
    line = f"! {RESULTS}/tables/sparsity.csv: changed since it was made; make it again: `snakemake --forcerun"
    assert whole.returncode == figure.returncode == 1
    assert line in whole.stdout
    assert line in figure.stdout
    assert "error: audit of tiny: 1 breaks in" in whole.stderr


def test_the_page_lists_every_file_and_needs_no_other(finished, jobs):
    found = audit(jobs, finished.root, Hashes())
    text = page(found, "tiny")
    assert "src=" not in text
    assert "href=" not in text
    assert all(output.removeprefix(f"{RESULTS}/") in text for job in jobs if job.script for output in job.outputs)
    assert tree(found)


def test_the_report_holds_the_audit(finished, tmp_path):
    made = finished.snakemake("--force", "audit_page")
    assert made.returncode == 0, made.stderr[-3000:]
    result = finished.snakemake("--report", str(tmp_path / "report.zip"), "--", "all", "audit_page")
    assert result.returncode == 0, result.stderr[-3000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        pages = [name for name in report.namelist() if name.endswith("audit.html")]
        assert pages
        assert b"sound: " in report.read(pages[0])
    assert finished.planned_rules() == set()


def test_a_sound_study_is_published_with_how_it_was_made(finished, tmp_path):
    folder = tmp_path / "kept"
    result = script(finished, "publish", "--folder", str(folder), "--cores", "2")
    assert result.returncode == 0, result.stderr
    for kind, suffix in (("figures", "png"), ("tables", "csv")):
        made = {file.name: file.read_bytes() for file in (finished.root / RESULTS / kind).glob(f"*.{suffix}")}
        assert {file.name: file.read_bytes() for file in (folder / kind).iterdir()} == made
    text = (folder / "made.md").read_text()
    assert "snakemake --cores 2 --config study=" in text
    assert re.search(r"sound: .* hash of all records: [0-9a-f]{64}", text)
    assert all(stage in text for stage in ("training", "rollouts", "scores", "checkpoint scores", "cross-samples"))


def test_a_study_with_a_break_is_not_published(finished, tmp_path):
    figure = finished.root / RESULTS / "figures/sparsity.png"
    sound = figure.read_bytes()
    try:
        figure.write_bytes(sound + b"x")
        result = script(finished, "publish", "--folder", str(tmp_path / "kept"), "--cores", "1")
    finally:
        figure.write_bytes(sound)
    assert result.returncode == 1
    assert "tiny is not published, since its audit is not sound" in result.stderr
    assert not (tmp_path / "kept").exists()


def test_a_figure_is_rebuilt_from_its_inputs_but_no_model_runs_for_it(finished):
    figure = finished.root / RESULTS / "figures/sparsity.png"
    before = figure.read_bytes()
    figure.unlink()
    result = script(finished, "rebuild", "--figure", "sparsity", "--cores", "1")
    assert result.returncode == 0, result.stderr
    assert figure.read_bytes() == before
    scores = finished.root / RESULTS / "scores/dapo/heldout/tuned.parquet"
    table = finished.root / RESULTS / "tables/sparsity.csv"
    hidden = {file: file.rename(file.with_suffix(".hidden")) for file in (scores, table)}
    try:
        refused = script(finished, "rebuild", "--figure", "sparsity", "--cores", "1")
    finally:
        for file, elsewhere in hidden.items():
            elsewhere.rename(file)
    assert refused.returncode == 1
    assert "error: figure sparsity cannot be made from what is there" in refused.stderr
    assert f"  scores: {RESULTS}/scores/dapo/heldout/tuned.parquet" in refused.stderr


def test_a_figure_made_from_scratch_is_equal_to_the_byte(finished):
    result = script(finished, "rebuild", "--figure", "sparsity", "--cores", "1", "--from-scratch")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "equal to the byte" in result.stdout


@pytest.fixture(scope="module")
def crate(finished, tmp_path_factory) -> Path:
    """The crate of the study, unpacked."""
    folder = tmp_path_factory.mktemp("crate")
    result = script(finished, "crate", "--largest-mb", "50", "--output", str(folder / "crate.zip"))
    assert result.returncode == 0, result.stderr[-3000:]
    shutil.unpack_archive(folder / "crate.zip", folder / "unpacked")
    return folder / "unpacked"


def test_the_crate_describes_every_job_with_the_hashes_of_its_files(crate, jobs):
    graph = {entity["@id"]: entity for entity in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}
    actions = [entity for entity in graph.values() if entity["@id"].startswith("#job-")]
    assert len(actions) == len([job for job in jobs if job.script])
    described = {result["@id"] for action in actions for result in action["result"]}
    assert described == {output for job in jobs if job.script for output in job.outputs}
    for name in described:
        assert graph[name]["sha256"] == hashlib.sha256((crate / name).read_bytes()).hexdigest()
        assert (crate / f"{name}.prov.json").is_file()


def test_the_crate_tells_of_no_host_and_of_no_other_study(crate):
    for file in crate.rglob("*.json"):
        assert f'"{socket.gethostname()}"' not in file.read_text()
    for record in crate.rglob("*.prov.json"):
        assert read_record(record)["host"].startswith("withheld:")
    assert [file.name for file in crate.glob("config/**/*.yaml")] == ["config.yaml", "tiny.yaml"]


class LocalContext(HTTPAdapter):
    """Answers with the context of RO-Crate 1.1: rocrate's, which is of 1.3, under the older names of Bioschemas."""

    def send(self, request, **_):
        text = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
        body = io.BytesIO(text.replace(b"bioschemas.org/terms/", b"bioschemas.org/"))
        headers = {"Content-Type": "application/ld+json"}
        return self.build_response(request, HTTPResponse(body, status=200, headers=headers, preload_content=False))


@pytest.mark.parametrize("profile", ["workflow-run-crate", "provenance-run-crate"])
def test_the_crate_is_valid_under_its_profiles(crate, tmp_path, profile):
    with CachedSession(tmp_path / "cache", backend="sqlite", expire_after=-1) as session:
        session.mount("https://w3id.org/", LocalContext())
        for headers in ({}, {"Accept": "application/ld+json"}):
            session.get("https://w3id.org/ro/crate/1.1/context", headers=headers)
    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
        offline=True,
        cache_path=tmp_path / "cache",
    )
    assert [issue.message for issue in services.validate(settings).get_issues()] == []
