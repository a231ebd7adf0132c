"""Reading a study file: YAML to `Study`, with one clear line per mistake."""

import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tokenshift.config.names import check_names
from tokenshift.config.replicates import without_seed
from tokenshift.config.study import Study
from tokenshift.errors import StudyError, nearest

STUDIES = Path("config/studies")


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML would silently let win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise StudyError(f"line {node.start_mark.line + 1}: key '{key}' is given twice")
        return super().construct_mapping(node, deep)


def load_study(name_or_path: str, root: Path = Path()) -> Study:
    """Read the study called `name_or_path` under config/studies of `root`, or at that path.

    Raises StudyError, naming the file and each wrong key, when the file is missing, is no YAML, or does not fit.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = root / STUDIES / f"{name_or_path}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (root / STUDIES).glob("*.yaml"))
        raise StudyError(f"no study file {path}{nearest(name_or_path, known)}; set `study` in config/config.yaml")
    try:
        given = yaml.load(path.read_text(), Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except StudyError as error:
        raise StudyError(f"{path}, {error}") from None
    if not isinstance(given, dict):
        raise StudyError(f"{path} must hold a mapping of sections, not {type(given).__name__}")
    try:
        study = Study.model_validate(given)
    except ValidationError as error:
        lines = [_describe(detail, given) for detail in _first_causes(error.errors())]
        raise StudyError("\n".join(f"{path}: {line}" for line in dict.fromkeys(lines))) from None
    try:
        check_names(study)
    except ValueError as error:
        raise StudyError(f"{path}: {error}") from None
    return study


def _first_causes(details: list[Any]) -> list[Any]:
    """`details` without the keys that are missing only because the recipe that would give them is wrong."""
    recipes = [detail["loc"] for detail in details if detail["loc"][-1:] == ("recipe",)]
    sections = [location[:-1] for location in recipes]
    return [
        detail
        for detail in details
        if detail["type"] != "missing" or detail["loc"] in recipes or detail["loc"][:-1] not in sections
    ]


def _declared(location: tuple, given: dict[str, Any]) -> tuple:
    """`location` with a model's name as the study file has it: without the seed that sets its replicates apart."""
    if location[:1] == ("models",) and len(location) > 1 and location[1] not in given["models"]:
        return ("models", without_seed(location[1]), *location[2:])
    return location


def _describe(detail: Any, given: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in _declared(detail["loc"], given)) or "study"
    if detail["type"] == "extra_forbidden":
        parent, key = _section_at(detail["loc"][:-1]), detail["loc"][-1]
        return f"{where}: unknown key{nearest(key, _keys(parent))}"
    if detail["type"] == "missing":
        return f"{where}: this key is needed"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        return message if where == "study" else f"{where}: {message}"
    return f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"


def _keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_at(location: tuple) -> type[BaseModel]:
    """The section type at `location` of a study file, following fields and names of mappings."""
    section: Any = Study
    for part in location:
        if typing.get_origin(section) is dict:
            section = typing.get_args(section)[1]
        elif isinstance(section, type) and issubclass(section, BaseModel):
            fields = {field.alias or name: field for name, field in section.model_fields.items()}
            section = _without_none(fields[part].annotation)
    return section


def _without_none(annotation: Any) -> Any:
    """The X of `X | None`; any other annotation as it is."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(annotation) if part is not type(None))
    return annotation
