"""What there is of vLLM without vLLM; tests/vllm_engine has the rest."""

import subprocess
import sys
from importlib import metadata

import pytest

from checkouts import ROOT
from tokenshift.errors import StudyError
from tokenshift.policies.vllm_engine import package, response_seed


def test_seeds_are_of_the_response_alone():
    keys = [(seed, problem, sample) for seed in (0, 1) for problem in ("a", "b") for sample in range(50)]
    seeds = [response_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [response_seed(*key) for key in keys]


def test_without_vllm_the_remedy_is_told(monkeypatch):
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(StudyError, match=r"evaluation\.engine is vllm, which is not installed here.*make vllm"):
        package()


def test_its_script_loads_nothing_that_compiles():
    """vLLM 0.32 fails where Numba is loaded."""
    code = (
        f"import runpy, sys; runpy.run_path(r'{ROOT}/workflow/scripts/rollouts_vllm.py'); print('numba' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip().endswith("False"), result.stderr
