"""Reading a study file: YAML to `Study`, with one clear line per mistake."""

import math
import os
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


LARGEST_FILE = 1_000_000  # bytes; the largest study file that was meant to be one is a hundredth of it
LARGEST_STUDY = 100_000  # values, once every alias is replaced by what it stands for
LONGEST_LINE = 300  # characters of a message, beside the names of files
MOST_MISTAKES = 20  # that are listed


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML would silently let win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        known = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                name = self.construct_object(key, deep=True)
                if name in known:
                    raise StudyError(f"line {key.start_mark.line + 1}: key '{name}' is given twice")
                known.add(name)
        return super().construct_mapping(node, deep)


def study_path(name_or_path: object, root: Path = Path()) -> Path:
    """The file of the study called `name_or_path` under config/studies of `root`, or at that path.

    Raises StudyError when there is none.
    """
    if not isinstance(name_or_path, str):
        raise StudyError(f"study is {_brief(repr(name_or_path))}: give the name or the file of a study")
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = root / STUDIES / f"{name_or_path}.yaml"
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        found = False
    if not found:
        known = sorted(file.stem for file in (root / STUDIES).glob("*.yaml"))
        raise StudyError(
            f"no study file {_brief(path)}{nearest(name_or_path, known)}; set `study` in config/config.yaml"
        )
    return path


def load_study(name_or_path: str, root: Path = Path()) -> Study:
    """Read the study called `name_or_path` under config/studies of `root`, or at that path.

    Raises StudyError, naming the file and each wrong key, when the file is missing, is no YAML, or does not fit.
    """
    path = study_path(name_or_path, root)
    given = _read(path)
    try:
        study = Study.model_validate(given)
    except ValidationError as error:
        lines = list(dict.fromkeys(_brief(_describe(detail, given)) for detail in _first_causes(error.errors())))
        more = [f"and {len(lines) - MOST_MISTAKES} more mistakes"] if len(lines) > MOST_MISTAKES else []
        raise StudyError("\n".join(f"{path}: {line}" for line in lines[:MOST_MISTAKES] + more)) from None
    try:
        check_names(study)
    except ValueError as error:
        raise StudyError(f"{path}: {_brief(error)}") from None
    return study


def require_files(study: Study, root: Path = Path()) -> None:
    """Raise StudyError when a file that `study` reads problems or solutions from is missing under `root`."""
    for section, entries in (("problems", study.problems), ("corpora", study.corpora)):
        for name, entry in entries.items():
            if entry.jsonl is not None and not os.path.isfile(root / entry.jsonl.path):
                raise StudyError(f"{section}.{name}.jsonl.path: no file {_brief(entry.jsonl.path)}")


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises StudyError when it holds none, or what no study file does."""
    content = path.read_bytes()
    if len(content) > LARGEST_FILE:
        raise StudyError(f"{path} has {len(content)} bytes: not a study file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8") from None
    try:
        node = yaml.compose(text, Loader=_UniqueKeyLoader)
        if node is not None and _values(node, {}) > LARGEST_STUDY:
            raise StudyError(f"{path}: its aliases (*name) make more than {LARGEST_STUDY} values; use fewer")
        given = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {_brief(error)}") from None
    except RecursionError:
        raise StudyError(f"{path} is nested too deeply for a study file") from None
    except StudyError as error:
        raise StudyError(f"{path}, {error}") from None
    except (ValueError, TypeError) as error:  # numbers and dates that Python cannot hold, keys that are lists
        raise StudyError(f"{path} holds a value that cannot be read: {_brief(error)}") from None
    if not isinstance(given, dict):
        raise StudyError(f"{path} must hold a mapping of sections, not {type(given).__name__}")
    return given


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a composed document has once aliases are replaced; without end where one stands within itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # while it is being counted
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_values(child, known) for child in inner)
    return known[id(node)]


def _brief(message: object, longest: int = LONGEST_LINE) -> str:
    """A message on one line, cut where it is long."""
    line = " ".join(str(message).split())
    return line if len(line) <= longest else f"{line[:longest]} ..."


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
    where = ".".join(_brief(part, 100) for part in _declared(detail["loc"], given)) or "study"
    if detail["type"] == "extra_forbidden":
        parent, key = _section_at(detail["loc"][:-1]), detail["loc"][-1]
        return f"{where}: unknown key{nearest(key, _keys(parent))}"
    if detail["type"] == "missing":
        return f"{where}: this key is needed"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        return message if where == "study" else f"{where}: {message}"
    return f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {_shown(detail['input'])}"


def _shown(value: Any) -> str:
    """A wrong value as Python writes it; of a large one its kind."""
    if isinstance(value, dict | list) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


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
