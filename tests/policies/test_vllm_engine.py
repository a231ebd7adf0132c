"""What there is of vLLM without vLLM; tests/vllm_engine has the rest."""

import itertools
from importlib import metadata

import pytest

from tokenshift.errors import StudyError
from tokenshift.policies.vllm_engine import package, response_seed


def test_seeds_are_of_the_response_alone():
    keys = list(itertools.product((0, 1), ("token", "rl-step-1"), ("a", "b"), range(50)))
    seeds = [response_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [response_seed(*key) for key in keys]


def test_without_vllm_the_remedy_is_told(monkeypatch):
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(StudyError, match=r"the engine of rollouts is vllm, which is not installed here.*make vllm"):
        package()
