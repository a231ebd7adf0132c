"""Tiny real models and inputs shared by the tests."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest

from checkouts import Checkout, copy_project

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies last: what fails fast is known early."""
    items.sort(key=lambda item: item.get_closest_marker("study") is not None)


@pytest.fixture(autouse=True)
def _few_threads():
    """One thread per test process: the machine may be small, and results must not depend on it."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Checkout:
    """A copy of the project without results."""
    return copy_project(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """A copy of the project in which the tiny study has run."""
    checkout = copy_project(tmp_path_factory.mktemp("finished"))
    result = checkout.snakemake()
    assert result.returncode == 0, result.stderr[-5000:]
    return checkout
