"""The tiny study, run once for all tests."""

import pytest

from checkouts import Checkout, copy_project


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
