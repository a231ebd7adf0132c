import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figure_tables import claims, sparsity
from tokenshift.artifacts import write_csv
from tokenshift.registries.claims import CLAIMS, statement
from tokenshift.summary.closing import LONGEST_NAME, WIDTH, claim_lines, short_number, summary


def claim_rows(sets: list[str], **changed: str) -> list[dict[str, str]]:
    """Rows as the CSV module reads them."""
    rows = claims(sets).rows(named=True)
    return [{key: "" if value is None else str(value) for key, value in (row | changed).items()} for row in rows]


def finished(results: Path, sets: list[str]) -> Path:
    (results / "tables").mkdir(parents=True)
    write_csv(results / "tables" / "claims.csv", claims(sets))
    return results


def test_a_finished_study_says_where_things_are_and_what_became_of_the_claims(tmp_path):
    text = summary(finished(tmp_path / "study", ["heldout"]))
    assert str(tmp_path / "study" / "figures") in text
    assert "results/report.zip" in text
    words = " ".join(text.split())
    assert all(f" {name} {claim.statement.split()[0]}" in words for name, claim in CLAIMS.items())
    assert text.index("sparse, whole") < text.index("sparse, truncated")
    assert "dapo-high-kl vs dapo" in text
    assert "0.91 [0.81, 1.00]" in text
    assert "contradicts" in text
    assert "paper: 0.83 (DAPO), 0.98" in text


def test_claims_stand_in_order_each_with_all_its_pairs():
    lines = claim_lines(claim_rows(["heldout"]))
    names = [line.split()[0] for line in lines if line.startswith("C") and line[1].isdigit()]
    assert names == [f"C{number}" for number in (1, *range(1, 14), 13, 13, 14, 15)]
    of_c13 = lines[[line[:3] for line in lines].index("C13") :]
    assert "forward" in " ".join(of_c13[:2])
    assert " dapo " in of_c13[0]
    assert " grpo " in of_c13[1]
    assert "not measured" in of_c13[1]


@pytest.mark.parametrize("sets", [["heldout"], ["aime24", "aime25"], ["a-problem-set-of-a-very-long-name", "b"]])
@pytest.mark.parametrize("pair", ["dapo", "a-tuned-model-of-a-name-that-hardly-ends vs its-baseline"])
def test_lines_fit_and_verdicts_are_aligned(sets, pair):
    rows = claim_rows(sets, pair=pair, ci_low="-0.000012345", ci_high="-0.0000100001", estimate="-0.000011")
    lines = claim_lines(rows)
    assert max(map(len, lines)) <= WIDTH
    starts = {line.rindex(verdict) for line in lines for verdict in ("supports", "contradicts") if verdict in line[60:]}
    assert len(starts) == 1
    assert all(any(name[: LONGEST_NAME - 1] in line for line in lines) for name in (pair, *(sets if sets[1:] else [])))


def test_without_a_table_of_claims_only_the_places_are_said(tmp_path):
    assert "Claims" not in summary(tmp_path)
    (tmp_path / "tables").mkdir()
    with open(tmp_path / "tables" / "claims.csv", "w", newline="") as file:
        csv.writer(file).writerow(["claim", "pair"])
    assert "Claims" not in summary(tmp_path)


@pytest.mark.parametrize("sets", [["heldout"], ["aime24", "aime25"]])
def test_sparsity_is_said_with_and_without_truncation(tmp_path, sets):
    finished(tmp_path / "study", sets)
    table = sparsity(sets)
    write_csv(tmp_path / "study" / "tables" / "sparsity.csv", table)
    text = " ".join(summary(tmp_path / "study").split())
    said = text[text.index("Positions with JS above 0.1") :]
    of_dapo = table.filter(pair="dapo", set=sets[0], trajectory="tuned", quantity="share_above")
    full, truncated = (f"{of_dapo.filter(divergence=kind)['estimate'].item():.1%}" for kind in ("js", "js_nucleus"))
    place = " on aime24" if sets[1:] else ""
    assert f"dapo{place} {full} and {truncated}" in said
    assert all(pair in said for pair in ("dapo", "grpo", "sft"))


def test_statement_tells_measurements_of_one_claim_apart():
    said = {statement("C13", variant) for variant in ("forward, as many replaced", "reverse, as many replaced")}
    assert len(said) == 2
    assert statement("C2", "") == statement("C2", None) == CLAIMS["C2"].statement


def test_an_inconclusive_claim_says_how_many_problems_would_decide_it():
    lines = claim_lines(claim_rows(["heldout"]))
    last = " ".join(lines[-5:])
    assert "Problems that would decide what is inconclusive" in last
    assert "C1 truncated dapo 640;" in last
    assert "C8 dapo 640; C8 grpo 640" in last
    decided = [row for row in claim_rows(["heldout"]) if row["verdict"] == "supports"]
    assert not any("would decide" in line for line in claim_lines(decided))


@given(st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False))
def test_short_numbers_keep_the_value(value):
    shown = float(short_number(value))
    assert shown == pytest.approx(value, rel=0.05, abs=1e-300)
    assert len(short_number(value)) <= 9


def test_importing_the_summary_imports_nothing_heavy():
    code = "import sys, tokenshift.summary.closing, tokenshift.summary.finding; "
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"polars", "pandas", "numpy", "torch", "matplotlib"} & set(done.stdout.split())
