import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from tokenshift.config.documentation import reference, schema
from tokenshift.config.loading import load_study
from tokenshift.config.recipes import RECIPES

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "config/studies").glob("*.yaml"))


def test_the_files_agree_with_the_typed_config():
    assert json.loads((ROOT / "workflow/schemas/study.schema.json").read_text()) == schema(), "run `make config`"
    assert (ROOT / "config/README.md").read_text() == reference(), "run `make config`"


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_fits_the_schema(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("sede", 1),
        ("seed", -1),
        ("problems", {"no/name": {"jsonl": {"path": "x"}}}),
        ("evaluation", {"sets": ["heldout"], "top_p": 2}),
        ("compute", {"device": "tpu"}),
        ("models", {"base": {"pretrained": {"path": "x", "revison": "y"}}}),
        ("models", {"rl": {"from": "base", "rl": {"recipe": "dapo", "steps": 1}}}),
    ],
)
def test_mistakes_do_not_fit(section, value):
    study = yaml.safe_load((ROOT / "config/studies/miniature.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study | {section: value}, schema())


def test_every_key_is_described_in_its_section():
    text = reference()
    tables = text.split("\n## ")
    described = schema()
    for section in (described, *described["$defs"].values()):
        heads = [table for table in tables if all(f"\n| `{key}` |" in table for key in section["properties"])]
        assert heads, section["title"]
        assert all(key["description"].endswith(".") for key in section["properties"].values())
    for links in [line for line in text.split("\n") if "](#" in line]:
        anchor = links.split("](#")[1].split(")")[0]
        headings = [line.replace(".", "").replace("`", "").lower() for line in text.split("\n") if line[:3] == "## "]
        assert f"## {anchor}" in headings


def test_values_of_the_recipes_are_listed():
    recipes = reference().split("\n## Recipes")[1]
    for key in RECIPES["dapo"]:
        values = " | ".join(f"`{json.dumps(recipe[key])}`" for recipe in RECIPES.values())
        assert f"| `{key}` | {values} |" in recipes


def test_the_pair_in_the_account_of_models_is_part_of_a_study(tmp_path):
    (example,) = re.findall("```yaml\n(.*?)```", (ROOT / "docs/models.md").read_text(), flags=re.DOTALL)
    rest = {"name": "example", "problems": {"given": {"jsonl": {"path": "x"}}}, "evaluation": {"sets": ["given"]}}
    file = tmp_path / "example.yaml"
    file.write_text(yaml.safe_dump(rest) + example)
    study = load_study(str(file))
    assert (study.prompt_of("base").chat, study.prompt_of("distilled").chat) == (False, True)
    assert study.scoring.conditioning == "own"
