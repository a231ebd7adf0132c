"""Write requirements.lock, with every package of every stack, and from it one conda environment per stack.

The pins already in requirements.lock are kept where they still fit pyproject.toml; delete the file to renew them all.
The environments are the part of the lock that each stack needs, so run this where the lock is installed.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
STACKS = ("data", "inference", "training", "analysis")

LOCK_HEADER = """\
# Every package of every stack (pyproject.toml), for Python 3.11. Written by `make lock`: do not edit.
# Without the CUDA libraries of torch, which its own wheel pins.
"""
ENVIRONMENT = """\
# The {stack} stack with all that it needs, as in requirements.lock. Written by `make lock`: do not edit.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python =3.11
  - pip
  - pip:
{pins}
"""

# Comes with every environment; or pinned by torch's CUDA wheel and absent from its CPU wheel.
UNPINNED = re.compile(r"(pip|nvidia-.*|cuda-.*|triton)==")


def main() -> None:
    """Write the lock, then the environments."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    compile_lock()
    pins = read_pins(LOCK)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for stack in STACKS:
        names = closure([*project["dependencies"], *project["optional-dependencies"][stack]])
        listed = "\n".join(f"      - {name}=={pins[name]}" for name in sorted(names & pins.keys()))
        (ROOT / "envs" / f"{stack}.yaml").write_text(ENVIRONMENT.format(stack=stack, pins=listed))


def compile_lock() -> None:
    """Resolve all extras of pyproject.toml with pip-compile, keeping the pins of requirements.lock that still fit."""
    form = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-emit-options"]
    what = ["--all-extras", "--strip-extras", "--allow-unsafe", "--quiet", f"--output-file={LOCK}"]
    subprocess.run([sys.executable, "-m", "piptools", "compile", *what, *form, "pyproject.toml"], cwd=ROOT, check=True)
    pins = sorted(f"{name}=={version}" for name, version in read_pins(LOCK).items())
    LOCK.write_text(LOCK_HEADER + "".join(f"{pin}\n" for pin in pins if not UNPINNED.match(pin)))


def read_pins(path: Path) -> dict[str, str]:
    """Versions by package in a lock file, without local labels such as +cpu, which only some indexes have."""
    pins = re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^\s+]+)", path.read_text(), re.MULTILINE)
    return dict(pins)


def closure(requirements: list[str]) -> set[str]:
    """Names of the packages that `requirements` need, directly or not, as the installed packages state it."""
    names: set[str] = set()
    extras: set[tuple[str, str]] = set()
    pending = [Requirement(requirement) for requirement in requirements]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        asked = {(name, extra) for extra in ("", *requirement.extras)} - extras
        extras |= asked
        names.add(name)
        for _, extra in asked:
            needed = [Requirement(text) for text in metadata.requires(name) or []]
            pending += [need for need in needed if need.marker is None or need.marker.evaluate({"extra": extra})]
    return names


if __name__ == "__main__":
    main()
