"""Tiny real models and inputs shared by the tests."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["TRITON_INTERPRET"] = "1"  # read when a test, or a library, first imports Triton

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from checkouts import Checkout, copy_project
from policies.replayed import as_on_a_gpu

ROOT = Path(__file__).parents[1]

# Tests that share what takes long to make run in one process, of several (pytest-xdist), and in this order.
SHARED = ("cluster", "finished")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster first, since there is much waiting for it; then what fails fast; whole studies last."""

    def order(item: pytest.Item) -> int:
        return 0 if "cluster" in item.fixturenames else 2 if item.get_closest_marker("study") else 1

    for item in items:
        if shared := next((name for name in SHARED if name in item.fixturenames), None):
            item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=order)


@pytest.fixture(autouse=True)
def _few_threads():
    """One thread per test process: the machine may be small, and results must not depend on it."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(params=["CPU", "GPU"])
def passes(request, monkeypatch) -> str:
    """Models are decoded as on a CPU, and again as on a GPU."""
    if request.param == "GPU":
        as_on_a_gpu(monkeypatch)
    return request.param


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Checkout:
    """A copy of the project without results."""
    return copy_project(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Checkout:
    """A copy of the project in which the tiny study has run, once for all processes, each of which has its own copy."""
    own = tmp_path_factory.getbasetemp()
    everyones = own if worker_id == "master" else own.parent
    made = Checkout(everyones / "finished")
    with FileLock(everyones / "finished.lock"):
        if not (everyones / "finished.done").exists():
            result = copy_project(made.root).snakemake()
            assert result.returncode == 0, result.stderr[-5000:]
            (everyones / "finished.done").touch()
    shutil.copytree(made.root, own / "finished-copy", symlinks=True)
    return Checkout(own / "finished-copy")
