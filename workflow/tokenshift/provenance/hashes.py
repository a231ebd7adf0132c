"""What a result depends on besides its inputs: the code that made it and its environment, as content hashes."""

import functools
import hashlib
from modulefinder import ModuleFinder
from pathlib import Path

LIBRARY = Path(__file__).parents[1]
ROOT = LIBRARY.parents[1]  # of the project


# No result depends on these beyond a job's spec: they check and describe the study file, record what a job did, or
# report how far it has come.
WITHOUT_EFFECT = ["tokenshift.config", "tokenshift.provenance.records", "tokenshift.progress"]


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hash(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file's content."""
    return sha256(path)[:16]


def folder_hash(folder: str | Path) -> str:
    """Hash of a model folder: of its manifest.json, which lists all files, or else of every file's name and content."""
    manifest = Path(folder) / "manifest.json"
    if manifest.is_file():
        return file_hash(manifest)
    digest = hashlib.sha256()
    for file in sorted(file for file in Path(folder).rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(folder)} {file_hash(file)}".encode())
    return digest.hexdigest()[:16]


@functools.cache
def code_hash(script: Path) -> str:
    """Hash of `script` with all modules of this library that it imports, directly or not.

    Depends on content alone: touching or checking out a file changes nothing, editing any of these files does. Modules
    in WITHOUT_EFFECT, and what they alone import, do not count; nor do __init__ files, which hold a docstring alone.
    """
    finder = ModuleFinder(path=[str(LIBRARY.parent)], excludes=WITHOUT_EFFECT)
    finder.run_script(str(script))
    files = sorted(Path(module.__file__) for module in finder.modules.values() if module.__file__)
    digest = hashlib.sha256()
    for file in files:
        if file.name != "__init__.py":
            digest.update(file_hash(file).encode())
    return digest.hexdigest()[:16]
