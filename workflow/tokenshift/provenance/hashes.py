"""What a result depends on besides its inputs: the code that made it and its environment, as content hashes."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).parents[1]
ROOT = LIBRARY.parents[1]  # of the project


# No result depends on these beyond a job's spec: they check and describe the study file, record what a job did, or
# report how far it has come.
WITHOUT_EFFECT = ("tokenshift.config", "tokenshift.provenance.records", "tokenshift.progress")


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
    """Hash of the code that a script's results depend on.

    Depends on content alone: touching or checking out a file changes nothing, editing any of these files does.
    """
    digest = hashlib.sha256()
    for file in sorted(code_files(script)):
        digest.update(file_hash(file).encode())
    return digest.hexdigest()[:16]


def code_files(script: Path) -> set[Path]:
    """`script` with all modules of this library that it imports, directly or not.

    Modules in WITHOUT_EFFECT, and what they alone import, do not count; nor do __init__ files, which hold a docstring
    alone.
    """
    files, unread = {script}, [script]
    while unread:
        new = _imports(unread.pop()) - files
        files |= new
        unread += new
    return files


@functools.cache
def _imports(file: Path) -> frozenset[Path]:
    """The library's modules that `file` imports anywhere in it, but those without effect."""
    names = (name for node in ast.walk(ast.parse(file.read_bytes())) for name in _imported_names(node))
    counted = (name for name in names if not any(f"{name}.".startswith(f"{left_out}.") for left_out in WITHOUT_EFFECT))
    paths = (LIBRARY.parent / f"{name.replace('.', '/')}.py" for name in counted)
    return frozenset(path for path in paths if path.is_file())


def _imported_names(node: ast.AST) -> Iterator[str]:
    """What an import statement may import of this library: `from a import b` may mean module a or module a.b."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return
    yield from (name for name in names if name.split(".")[0] == LIBRARY.name)
