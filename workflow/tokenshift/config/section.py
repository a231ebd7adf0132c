"""What every part of a study file is made of."""

import re
import types
import typing
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Item = TypeVar("Item")


def _no_shard(name: str) -> str:
    """Raise ValueError when `name` ends like the file of a shard."""
    if re.search(r"\d-of-\d+$", name):
        raise ValueError(f"'{name}' ends like the name of a shard (0-of-2); give it another end")
    return name


def _distinct(values: list[Item]) -> list[Item]:
    """Raise ValueError when a value comes twice."""
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{repeated[0]} is listed twice")
    return values


# Names are parts of file names, of which file systems take 255 bytes. Every number has bounds, far beyond what anyone
# would mean: what lies outside is a mistake, and would end a run, or never let it end, hours later.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80), AfterValidator(_no_shard)]
Distinct = Annotated[list[Item], AfterValidator(_distinct)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Temperature = Annotated[float, Field(gt=0, le=100)]
Nucleus = Annotated[float, Field(gt=0, le=1)]
Divergence = Annotated[float, Field(ge=0, le=1)]  # JS in nats is at most ln 2
Entropy = Annotated[float, Field(ge=0, le=100)]  # in nats


class Section(BaseModel):
    """A mapping of the study file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant, and characters that no file or command can hold."""
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool) and not _allows_truth(cls.model_fields[info.field_name].annotation):
                raise ValueError(f"{str(part).lower()} is not a number or text")
            if isinstance(part, str) and re.search("[\\x00\\ud800-\\udfff]", part):
                raise ValueError("holds a character that no text can have (NUL or half of a surrogate pair)")
        return value

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON, with the keys of the study file."""
        return self.model_dump(mode="json", by_alias=True)


def _allows_truth(annotation: Any) -> bool:
    """Whether a field of this type may hold true or false."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(map(_allows_truth, typing.get_args(annotation)))
    return annotation in (bool, Any)


def part_of(section: Section, kind: type[Section]) -> dict[str, Any]:
    """Those keys of `section` that the section type `kind` has too, as plain data."""
    return section.model_dump(mode="json", by_alias=True, include=set(kind.model_fields))


def exactly_one(section: Section, *keys: str) -> str:
    """Name of the only one of `keys` that is set. Raises ValueError when none or several are."""
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(keys)}; found {', '.join(given) or 'none'}")
    return given[0]
