"""Installed packages against those that a lock or environment file pins."""

import re
import sys
from pathlib import Path

from tokenshift.errors import StudyError


def pins(file: str | Path) -> dict[str, str]:
    """Version by package that a lock or environment file pins."""
    return dict(re.findall(r"^[\s-]*([a-z0-9][a-z0-9.-]*)==(\S+)$", Path(file).read_text(), re.MULTILINE))


def installed() -> dict[str, str]:
    """Version by package that this Python imports, without local labels such as +cpu."""
    versions: dict[str, str] = {}
    for folder in map(Path, sys.path):
        for information in folder.glob("*.dist-info"):
            name, _, version = information.stem.rpartition("-")
            # The first folder on the path is the one that is imported from.
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version.partition("+")[0])
    return versions


def differing(locked: dict[str, str], versions: dict[str, str]) -> dict[str, dict[str, str]]:
    """Packages installed in another version than the locked one, with both."""
    return {
        name: {"locked": version, "installed": versions[name]}
        for name, version in sorted(locked.items())
        if name in versions and versions[name] != version
    }


def require_locked(lock: str | Path) -> None:
    """Raise StudyError, with both versions, when a package of `lock` is installed in another version."""
    others = differing(pins(lock), installed())
    if others:
        listed = [f"{name} {both['installed']} (locked: {both['locked']})" for name, both in others.items()]
        more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
        raise StudyError(
            f"installed packages differ from {Path(lock).name}: {', '.join(listed[:5])}{more}; install the locked ones "
            "(`make study` does), or lock the installed ones (`make lock`)"
        )
