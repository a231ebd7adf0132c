"""The study file described: its JSON schema, and the reference of every key in Markdown. Both follow from `Study`."""

import json
from collections.abc import Iterator
from typing import Any

from tokenshift.config.recipes import RECIPES
from tokenshift.config.study import Study

_INTRODUCTION = """\
# The study file

One YAML file is one study: its problems, models, pairs and analyses. `config/config.yaml` names it, as a name under
`config/studies` or as a path. Everything is checked before anything runs, and an unknown key is refused.

This page is generated from `workflow/tokenshift/config` (`make config`), as is the JSON schema
[study.schema.json](../workflow/schemas/study.schema.json). In the tables, "needed" means that there is no default, and
NAME stands for a name of your choice.

**Names** hold letters, digits, `-` and `_`, and begin with a letter or a digit. They name files under `results/`.

**Seeds.** Everything random is drawn from a seed in this file, keyed by problem, sample and position, so results do not
depend on batch sizes, on the number of jobs or on their order. `seed` is that of all sampling in evaluation; problem
sets, corpora, models and the bootstrap have their own. A model with one seed keeps its name; with several, NAME becomes
NAME-s1, NAME-s2 and so on after its seeds. `pairs` and `from` name one of these; `training` takes NAME for all of them.
"""

_RECIPES = """\
## Recipes

What `models.NAME.rl.recipe` stands for: the values of the keys that the study file does not give. `dapo` is DAPO on
Qwen2.5-32B (arXiv 2503.14476), `grpo` is GRPO as in SimpleRL-Zoo (arXiv 2503.18892), `dr_grpo` is Dr. GRPO as in
Oat-Zero-7B (arXiv 2503.20783).
"""

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number", "null": "null"}


def schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a study file.

    It holds what can be said of each key alone; that references exist, and that keys agree, `load_study` checks.
    """
    described = Study.model_json_schema(by_alias=True)
    rl = described["$defs"]["Rl"]
    rl["required"] = [key for key in rl["required"] if not _from_recipe(key)]
    for key in described["properties"].values():
        if "patternProperties" in key:
            key["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def reference() -> str:
    """Reference of the study file in Markdown: a table for each section, in the file's order, then the recipes."""
    described = schema()
    paths = _paths(described)
    parts = [_INTRODUCTION, "## Top level\n", _table(described, paths)]
    for name, places in paths.items():
        section = described["$defs"][name]
        also = [f"Also at {', '.join(f'`{place}`' for place in places[1:])}.\n"] if places[1:] else []
        parts += [f"## `{places[0]}`\n", " ".join(section["description"].split()) + "\n", *also, _table(section, paths)]
    return "\n".join([*parts, _RECIPES, _recipe_table()])


def _from_recipe(key: str) -> bool:
    return all(key in recipe for recipe in RECIPES.values())


def _paths(described: dict[str, Any]) -> dict[str, list[str]]:
    """Where each section type stands in the study file, types in the order of first appearance."""
    paths: dict[str, list[str]] = {}

    def visit(section: dict[str, Any], path: str) -> None:
        for key, value in section["properties"].items():
            for name, place in _sections(value, f"{path}{key}"):
                paths.setdefault(name, []).append(place)
                visit(described["$defs"][name], f"{place}.")

    visit(described, "")
    return paths


def _sections(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Section types that `value` may hold, each with its place: `path`, .NAME or .STEP in a mapping, [] in a list."""
    if "$ref" in value:
        yield value["$ref"].rsplit("/", 1)[1], path
    for option in value.get("anyOf", []):
        yield from _sections(option, path)
    if "items" in value:
        yield from _sections(value["items"], f"{path}[]")
    for entry in value.get("patternProperties", {}).values():
        yield from _sections(entry, f"{path}.NAME")
    if isinstance(value.get("additionalProperties"), dict):
        yield from _sections(value["additionalProperties"], f"{path}.STEP")


def _table(section: dict[str, Any], paths: dict[str, list[str]]) -> str:
    rows = [
        (f"`{key}`", _type(value, paths), _default(section, key), value["description"])
        for key, value in section["properties"].items()
    ]
    return _markdown(("Key", "Value", "Default", "Meaning"), rows)


def _type(value: dict[str, Any], paths: dict[str, list[str]]) -> str:
    if "$ref" in value:
        place = paths[value["$ref"].rsplit("/", 1)[1]][0]
        return f"[{place}](#{place.replace('.', '').lower()})"
    if "anyOf" in value:
        return ", or ".join(_type(option, paths) for option in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{json.dumps(option).strip(chr(34))}`" for option in value["enum"])
    if value.get("type") == "array":
        return f"list of: {_type(value['items'], paths)}"
    if value.get("type") == "object":
        (entry,) = (value.get("patternProperties") or {"": value["additionalProperties"]}).values()
        return "mapping" if entry is True else f"mapping to: {_type(entry, paths)}"
    if "pattern" in value:
        return "name"
    bounds = [f"{sign} {value[bound]}" for bound, sign in _BOUNDS.items() if bound in value]
    return " ".join([_TYPES[value["type"]], ", ".join(bounds)]).strip()


def _default(section: dict[str, Any], key: str) -> str:
    if section["title"] == "Rl" and _from_recipe(key):
        return "the recipe's"
    if key in section.get("required", []):
        return "needed"
    if "$ref" in section["properties"][key]:
        return "its defaults"
    return f"`{json.dumps(section['properties'][key]['default'])}`"


def _recipe_table() -> str:
    keys = list(dict.fromkeys(key for recipe in RECIPES.values() for key in recipe))
    rows = [(f"`{key}`", *(f"`{json.dumps(recipe[key])}`" for recipe in RECIPES.values())) for key in keys]
    return _markdown(("Key", *(f"`{name}`" for name in RECIPES)), rows)


def _markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
