"""The report's first page says what the tables say, and is reStructuredText without a complaint."""

import csv
import html
import re
from pathlib import Path

import polars as pl
import pytest
from docutils.core import publish_parts

from figure_tables import claims, sparsity
from tokenshift.artifacts import write_csv
from tokenshift.registries.claims import statement
from tokenshift.summary.closing import measured
from tokenshift.summary.finding import CLAIMS_OF, finding, seen

ROOT = Path(__file__).parents[2]
# What docutils finds wrong is an error here.
STRICT = {"report_level": 1, "halt_level": 1}


def finished(folder, **changed):
    (folder / "tables").mkdir(parents=True)
    write_csv(folder / "tables" / "claims.csv", claims(["heldout"]).with_columns(**changed))
    write_csv(folder / "tables" / "sparsity.csv", sparsity(["heldout"]))
    return folder


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def test_every_claim_stands_there_with_its_interval_and_verdict(tmp_path):
    results = finished(tmp_path / "my-study")
    page = text_of(publish_parts(finding(results), writer="html5", settings_overrides=STRICT)["html_body"])
    with open(results / "tables/claims.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 15
    for row in rows:
        said = f"{row['claim']} {statement(row['claim'], row['variant'])} {row['pair']}"
        number = measured(row) if row["estimate"] else "–"
        assert f"{said} {number} {row['paper_value']} {row['verdict']}" in page
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("supports", "contradicts")}
    assert f"{counts['supports']} supported" in page
    assert f"{counts['contradicts']} contradicted" in page
    assert "Positions with JS above 0.1" in page


def test_the_first_figure_is_within_the_page(tmp_path):
    results = finished(tmp_path / "study")
    assert "image::" not in finding(results)
    (results / "figures").mkdir()
    (results / "figures/figure_1.png").write_bytes(bytes(range(256)) * 500)
    page = publish_parts(finding(results), writer="html5", settings_overrides=STRICT)["html_body"]
    assert page.count("data:image/png;base64,AAECAwQF") == 1


@pytest.mark.parametrize("name", ["*star*", "back`tick`", "under_", "|bar|", "a\\b", "<script>x</script>", "- dash"])
def test_names_are_text(tmp_path, name):
    results = finished(tmp_path / "study", pair=pl.lit(name))
    page = publish_parts(finding(results), writer="html5", settings_overrides=STRICT)["html_body"]
    assert "<script>" not in page
    assert name.lstrip("- ") in text_of(page)


def test_a_study_without_claims_has_nothing_to_say_yet(tmp_path):
    assert finding(tmp_path) == ""


def test_below_each_figure_stand_the_claims_that_it_bears_on(tmp_path):
    below = seen(finished(tmp_path / "study"))
    table = (ROOT / "docs/figures.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|.*\| ((?:C\d+(?:, )?)+) \|$", table, re.MULTILINE)
    assert {figure: claims.split(", ") for figure, claims in listed} == CLAIMS_OF
    assert set(below) == set(CLAIMS_OF)
    for figure, text in below.items():
        page = text_of(publish_parts(text, writer="html5", settings_overrides=STRICT)["html_body"])
        assert set(re.findall(r"\bC\d+(?=,)", page)) <= set(CLAIMS_OF[figure])
        assert f'snakemake.config["seen"].get("{figure}"' in (ROOT / f"workflow/report/{figure}.rst").read_text()
    assert "C1, shifts are sparse, whole vocabulary: dapo 0.91 [0.81, 1.00], supports" in text_of(below["sparsity"])
    assert seen(tmp_path) == {}
