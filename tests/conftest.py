"""Tiny real models and inputs shared by the tests."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _few_threads():
    """One thread per test process: the machine may be small, and results must not depend on it."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
