"""Claims of several studies side by side."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from figure_tables import claims
from tokenshift.artifacts import write_csv
from tokenshift.errors import StudyError
from tokenshift.figures.compared import PAPER, compared, side_by_side
from tokenshift.registries.claims import CLAIMS

ROOT = Path(__file__).parents[2]


def finished(folder: Path, study: str, sets: tuple[str, ...] = ("heldout",)) -> Path:
    path = folder / study / "tables" / "claims.csv"
    path.parent.mkdir(parents=True)
    write_csv(path, claims(list(sets)))
    return path


def test_a_row_for_each_claim_and_a_column_for_each_pair(tmp_path):
    files = [finished(tmp_path, "first"), finished(tmp_path, "second", ("aime24", "aime25"))]
    rows = compared(files)
    assert len(rows) == len(claims(["heldout"])) + len(claims(["aime24", "aime25"]))
    table = side_by_side(rows)
    assert table["claim"].unique(maintain_order=True).to_list() == list(CLAIMS)
    assert table.select("claim", "says").is_unique().all()
    assert {"first dapo", "first grpo", "second dapo aime24", "second grpo aime25"} < set(table.columns)
    first = table.filter(claim="C1").row(0, named=True)
    assert first[PAPER] == "0.83 (DAPO), 0.98 (SimpleRL)"
    assert first["first dapo"] == first["second dapo aime25"] == "0.91 [0.81, 1.00] supports"
    of_training = table.filter(claim="C15")
    assert of_training["first dapo"].to_list() == [None]
    assert of_training["first dapo-high-kl vs dapo"].item().endswith("inconclusive")


@pytest.mark.parametrize("fault", ["missing", "twice", "old"])
def test_what_cannot_be_compared_is_refused(tmp_path, fault):
    good = finished(tmp_path, "good")
    files = {"missing": [good, tmp_path / "other" / "tables" / "claims.csv"], "twice": [good, good], "old": [good]}
    if fault == "old":
        write_csv(good, claims(["heldout"]).drop("variant"))
    said = {"missing": "--config study=other", "twice": "name each once", "old": "run `snakemake --config study=good`"}
    with pytest.raises(StudyError, match=said[fault]):
        compared(files[fault])


def test_the_script_writes_table_and_figure_with_a_record_and_the_same_bytes_again(tmp_path):
    files = [finished(tmp_path, "first"), finished(tmp_path, "second")]
    made = []
    for name in ("a", "b"):
        output = tmp_path / name / "claims.csv"
        output.parent.mkdir()
        command = [sys.executable, ROOT / "workflow/scripts/compare.py", "--claims", *files, "--output", output]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")})
        made.append([output.with_suffix(f".{form}").read_bytes() for form in ("csv", "md", "pdf", "png")])
        assert Path(f"{output}.prov.json").is_file()
    assert made[0] == made[1]
    assert len(pl.read_csv(tmp_path / "a" / "claims.csv")) == 2 * len(claims(["heldout"]))
