"""What every part of a study file is made of."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A mapping of the study file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON, with the keys of the study file."""
        return self.model_dump(mode="json", by_alias=True)


def part_of(section: Section, kind: type[Section]) -> dict[str, Any]:
    """Those keys of `section` that the section type `kind` has too, as plain data."""
    return section.model_dump(mode="json", by_alias=True, include=set(kind.model_fields))


def exactly_one(section: Section, *keys: str) -> str:
    """Name of the only one of `keys` that is set. Raises ValueError when none or several are."""
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(keys)}; found {', '.join(given) or 'none'}")
    return given[0]
