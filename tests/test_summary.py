import csv

from tokenshift.summary import WIDTH, summary

ROW = {
    "claim": "C1",
    "pair": "dapo",
    "set": "heldout",
    "quantity": "share of positions with JS below 0.01",
    "estimate": "0.8912",
    "ci_low": "0.88",
    "ci_high": "0.9",
    "paper_value": "0.83 (DAPO), 0.98 (SimpleRL)",
    "verdict": "supports",
}
UNMEASURED = {**ROW, "claim": "C14", "estimate": "", "ci_low": "", "ci_high": "", "verdict": "not measured"}


def write_claims(folder, rows):
    (folder / "tables").mkdir()
    with open(folder / "tables" / "claims.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ROW)
        writer.writeheader()
        writer.writerows(rows)


def test_claims_with_estimates_and_verdicts_fit_a_terminal(tmp_path):
    write_claims(tmp_path, [ROW, {**ROW, "pair": "a-pair-with-a-very-long-name-indeed"}, UNMEASURED])
    text = summary(tmp_path)
    line = next(line for line in text.splitlines() if line.startswith("C1 "))
    assert "dapo" in line
    assert "0.89 [0.88, 0.90]" in line
    assert line.endswith("supports")
    assert "2 supports, 1 not measured" in text
    assert max(map(len, text.replace(str(tmp_path), "").splitlines())) <= WIDTH


def test_without_claims_it_says_where_things_are(tmp_path):
    assert str(tmp_path / "figures") in summary(tmp_path)
