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


def test_the_tree_names_every_room():
    tree = README.split("## Where things are")[1].split("```")[1]
    rooms = {file.stem for file in (ROOT / "workflow/tokenshift").iterdir() if not file.stem.startswith("_")}
    assert {room for room in rooms - {"command", "errors", "progress"} if room not in tree} == set()
