"""The README's statements about files and its example study, against the repository."""

import re
from pathlib import Path

from tokenshift.config.loading import load_study

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_study_is_valid(tmp_path):
    example = tmp_path / "my-pair.yaml"
    example.write_text(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1])
    study = load_study(str(example))
    assert study.name == "my-pair"
    assert study.pairs["dapo"].tuned == "tuned"


def test_every_figure_is_in_the_table():
    listed = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    assert listed == {script.stem for script in (ROOT / "workflow/scripts/figures").glob("*.py")}


def test_the_tree_names_every_module():
    """Those of the tables stand in the table of figures."""
    tree = README.split("## Where things are")[1].split("```")[1]
    figures = {script.stem for script in (ROOT / "workflow/scripts/figures").glob("*.py")}
    library = ROOT / "workflow/tokenshift"
    modules = {file.parent.name if file.stem == "__init__" else file.stem for file in library.rglob("*.py")}
    assert {module for module in modules - figures if not re.search(rf"\b{module}\b", tree)} == set()
