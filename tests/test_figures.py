import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tokenshift.figures import colours

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts/figures"
INTERVAL = {"estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_problems": 8, "n_tokens": 100}


def draw(folder: Path, figure: str, table: pd.DataFrame) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "table.csv", index=False)
    outputs = [f"--output-{form}={folder / f'figure.{form}'}" for form in ("pdf", "png", "csv")]
    command = [sys.executable, SCRIPTS / f"{figure}.py", "--spec", '{"near_zero": 0.01, "high": 0.1}']
    return subprocess.run(
        [*command, "--table", folder / "table.csv", *outputs], capture_output=True, text=True, check=False
    )


def sweep() -> pd.DataFrame:
    """A cross-sampling table of one pair: two directions, two criteria, four budgets."""
    thresholds = [float("inf"), 0.2, 0.1, -float("inf")]
    return pd.DataFrame(
        [
            {"pair": "dapo", "set": "heldout", "direction": direction, "criterion": criterion, "budget": budget}
            | {"threshold": threshold, "quantity": quantity, **INTERVAL, "estimate": 0.1 * budget + 0.4}
            for direction in ("forward", "reverse")
            for criterion in ("js", "random")
            for budget, threshold in enumerate(thresholds)
            for quantity in ("accuracy", "effective_share", "length")
        ]
    )


def test_the_same_table_gives_the_same_bytes_and_the_rows_drawn(tmp_path):
    for name in ("first", "second"):
        assert draw(tmp_path / name, "cross_sampling", sweep()).returncode == 0
    for form in ("pdf", "png", "csv"):
        assert (tmp_path / "first" / f"figure.{form}").read_bytes() == (
            tmp_path / "second" / f"figure.{form}"
        ).read_bytes()
    drawn = pd.read_csv(tmp_path / "first" / "figure.csv")
    assert set(drawn["quantity"]) == {"accuracy"}
    assert len(drawn) == 2 * 2 * 4
    assert "effective_share" in drawn


def test_missing_estimates_are_left_out(tmp_path):
    table = pd.DataFrame(
        [
            {"pair": pair, "set": "heldout", "trajectory": "tuned", "positions": positions, "k": k, **INTERVAL}
            for pair in ("dapo", "sft")
            for positions in ("all", "high_js")
            for k in (1, 2)
        ]
    )
    table.loc[table["positions"] == "high_js", ["estimate", "ci_low", "ci_high"]] = None
    assert draw(tmp_path, "top_k_overlap", table).returncode == 0


def test_a_table_without_rows_is_refused(tmp_path):
    result = draw(tmp_path, "cross_sampling", sweep().head(0))
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.strip().endswith("table.csv has no rows to draw")
    assert not (tmp_path / "figure.pdf").exists()


@pytest.mark.parametrize("names", [["sft", "dapo", "grpo"], ["grpo", "sft", "dapo", "dapo"]])
def test_a_pair_keeps_its_colour(names):
    assert colours(names) == colours(["dapo", "grpo", "sft"])
