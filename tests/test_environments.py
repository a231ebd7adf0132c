import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STACKS = ("data", "inference", "training", "analysis")
APART = ("vllm",)  # with pins of its own


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def pinned(stack: str) -> dict[str, str]:
    environment = yaml.safe_load((ROOT / "envs" / f"{stack}.yaml").read_text())
    return dict(pin.split("==") for pin in environment["dependencies"][-1]["pip"])


def fits(requirements: list[str], pins: dict[str, str]) -> None:
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_lock_is_exact_and_holds_for_every_machine():
    for name, version in locked().items():
        assert canonicalize_name(name) == name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"


def test_the_lock_fits_every_dependency():
    extras = PROJECT["optional-dependencies"].values()
    fits([*PROJECT["dependencies"], *(requirement for extra in extras for requirement in extra)], locked())


def test_each_stack_has_one_environment():
    assert sorted(path.stem for path in (ROOT / "envs").glob("*.yaml")) == sorted((*STACKS, *APART))


@pytest.mark.parametrize("stack", STACKS)
def test_an_environment_has_its_dependencies_as_locked(stack):
    fits([*PROJECT["dependencies"], *PROJECT["optional-dependencies"][stack]], pinned(stack))
    assert pinned(stack).items() <= locked().items()


@pytest.mark.parametrize("stack", ["data", "analysis"])
def test_data_and_analysis_need_no_torch(stack):
    assert "torch" not in pinned(stack)
