import hashlib
import json
import os
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokenshift import artifacts
from tokenshift.artifacts import gather_parquet, read_parquet, write_parquet
from tokenshift.atomic import SCHEMA_VERSION, atomic_file, atomic_folder
from tokenshift.errors import StudyError
from tokenshift.schemas import CORPUS

NAMES = pa.schema([("token_id", pa.int32()), ("token", pa.string())])
TABLE = pa.table({"token": ["a", "b"], "token_id": [0, 1]})


def test_parquet_round_trip_is_cast_ordered_and_described(tmp_path):
    path = tmp_path / "folder" / "vocabulary.parquet"
    write_parquet(path, TABLE, NAMES, {"seed": 1}, ("numpy",))
    assert pq.read_schema(path).metadata[b"tokenshift.spec"] == b'{"seed": 1}'
    assert pq.read_schema(path).remove_metadata() == NAMES
    assert read_parquet(path, NAMES)["token"].to_list() == ["a", "b"]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        write_parquet(tmp_path / name, TABLE, NAMES, {}, ())
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_parts_are_gathered_into_the_bytes_of_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "ROW_GROUP", 7)
    table = pa.table({"token": [f"t{row}" for row in range(40)], "token_id": range(40)})
    cuts = [0, 3, 3, 20, 21, 40]
    parts = [tmp_path / f"part-{number}" for number in range(len(cuts) - 1)]
    for part, start, end in zip(parts, cuts, cuts[1:], strict=False):
        write_parquet(part, table.slice(start, end - start), NAMES, {"seed": 1}, ())
    write_parquet(tmp_path / "whole", table, NAMES, {"seed": 1}, ())
    gather_parquet(tmp_path / "gathered", parts)
    assert (tmp_path / "gathered").read_bytes() == (tmp_path / "whole").read_bytes()


def test_steps_stay_together_whatever_the_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenshift.artifacts.ROW_GROUP", 3)
    rows = [(step, f"problem-{number}") for step in (5, 10, 20) for number in range(4)]
    schema = pa.schema([("step", pa.int32()), ("problem_id", pa.string())])

    def table(kept: list[tuple[int, str]]) -> pa.Table:
        return pa.table({"step": [step for step, _ in kept], "problem_id": [name for _, name in kept]}, schema)

    write_parquet(tmp_path / "whole", table(rows), schema, {}, ())
    for cut in ((0, 4), (0, 1, 4), (0, 2, 3, 4)):
        parts = []
        for first, last in pairwise(cut):
            parts.append(tmp_path / f"{first}-{last}-of-{len(cut)}")
            names = {f"problem-{number}" for number in range(first, last)}
            write_parquet(parts[-1], table([row for row in rows if row[1] in names]), schema, {}, ())
        gather_parquet(tmp_path / "gathered", parts)
        assert (tmp_path / "gathered").read_bytes() == (tmp_path / "whole").read_bytes()


def test_parts_of_different_runs_are_refused(tmp_path):
    for seed in (1, 2):
        write_parquet(tmp_path / str(seed), TABLE, NAMES, {"seed": seed}, ())
    with pytest.raises(StudyError, match="2 does not belong with"):
        gather_parquet(tmp_path / "gathered", [tmp_path / "1", tmp_path / "2"])
    assert not (tmp_path / "gathered").exists()


def test_another_kind_or_version_of_file_is_refused(tmp_path):
    path = tmp_path / "vocabulary.parquet"
    write_parquet(path, TABLE, NAMES, {}, ())
    with pytest.raises(StudyError, match=r"missing columns \['problem_id'"):
        read_parquet(path, CORPUS)
    pq.write_table(TABLE.replace_schema_metadata({"tokenshift.schema_version": "0"}), path)
    with pytest.raises(StudyError, match=f"schema version 0, expected {SCHEMA_VERSION}"):
        read_parquet(path, NAMES)
    with pytest.raises(StudyError, match="do not match the schema"):
        write_parquet(path, TABLE, CORPUS, {}, ())


def test_a_failed_write_leaves_nothing(tmp_path):
    for writer, name in ((atomic_file, "table.csv"), (atomic_folder, "model")):
        with pytest.raises(ZeroDivisionError), writer(tmp_path / name):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def left_behind(folder: Path, host: str, process: int) -> list[Path]:
    """What a process leaves that is killed while it writes a file and a folder, and the same of another file."""
    for name in ("table.csv", "other.csv"):
        (folder / f".{name}.~{host}~{process}.tmp.csv").write_text("half")
    (folder / f".model.~{host}~{process}.tmp").mkdir()
    (folder / f".model.~{host}~{process}.tmp/half").write_text("half")
    return sorted(folder.iterdir())


def write_both(folder: Path) -> None:
    with atomic_file(folder / "table.csv") as temporary:
        temporary.write_text("a")
    with atomic_folder(folder / "model") as temporary:
        (temporary / "a").write_text("a")


@pytest.mark.parametrize("host", [socket.gethostname(), "another-node"])
def test_what_a_killed_process_left_goes_when_its_output_is_made_again(tmp_path, host):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left_behind(tmp_path, host, int(ended.stdout))
    write_both(tmp_path)
    other = f".other.csv.~{host}~{int(ended.stdout)}.tmp.csv"
    assert {file.name for file in tmp_path.iterdir()} == {"table.csv", "model", other}


def test_what_a_living_process_writes_stays(tmp_path):
    living = left_behind(tmp_path, socket.gethostname(), os.getppid())
    write_both(tmp_path)
    assert set(living) < set(tmp_path.iterdir())


def test_a_folder_in_a_file_s_place_is_an_error(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(StudyError, match="is a folder where a file should be"), atomic_file(tmp_path / "table.csv"):
        pass


def test_a_folder_replaces_its_predecessor(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / content).write_text(content)
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"new", "manifest.json"}
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest == {"sha256": {"new": hashlib.sha256(b"new").hexdigest()}}
