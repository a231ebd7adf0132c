"""What README and docs say of files, links and the example study, against the repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenshift.config.loading import load_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_example_study_is_valid(tmp_path):
    example = tmp_path / "my-pair.yaml"
    example.write_text(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1])
    study = load_study(str(example))
    assert study.name == "my-pair"
    assert study.pairs["dapo"].tuned == "tuned"


def test_every_figure_is_in_the_table():
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/figures.md").read_text(), re.MULTILINE))
    assert listed == {script.stem for script in (ROOT / "workflow/scripts/figures").glob("*.py")}


def test_the_tree_names_every_module():
    """Those of the tables stand in the table of figures."""
    tree = (ROOT / "docs/tree.md").read_text().split("```")[1]
    figures = {script.stem for script in (ROOT / "workflow/scripts/figures").glob("*.py")}
    library = ROOT / "workflow/tokenshift"
    modules = {file.parent.name if file.stem == "__init__" else file.stem for file in library.rglob("*.py")}
    assert {module for module in modules - figures if not re.search(rf"\b{module}\b", tree)} == set()


def test_the_readme_is_short_and_its_tree_exists():
    assert len(README.splitlines()) < 200
    tree = README.split("## Where things are")[1].split("```")[1]
    named = re.findall(r"(?<![\w<>])((?:[\w.-]+/)+|Snakefile|Makefile)(?= )", tree)
    assert len(named) > 12
    library = re.findall(r"^  ((?:\w+  ?)+) ", tree, re.MULTILINE)
    rooms = {room for line in library for room in line.split()}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    folders = {folder.name for folder in (ROOT / "workflow/tokenshift").iterdir() if (folder / "__init__.py").exists()}
    assert rooms == folders


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    inside = [target for target in targets if not target.startswith("https://")]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_the_site_is_made_without_a_warning(tmp_path):
    """Links between pages and to headings included; mkdocs.yml is strict."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    assert listed == set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    outside = re.compile(r"""(?:src|href)="https?://(?!squidfunk|arxiv|www\.sitemaps)""")
    assert outside.findall((tmp_path / "site/index.html").read_text()) == []
