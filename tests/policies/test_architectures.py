"""Every architecture in every stage that runs models, against references that compute each sequence from scratch."""

import pytest

from policies.architectures import ARCHITECTURES, WAYS, documented, outcome


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_stage_computes_with_it_what_it_should(name, passes):
    found = outcome(name)
    assert found.error < 1e-5  # recurrent states are computed in float32
    assert found.rollouts
    assert found.cross_samples
    assert documented()[name] == WAYS[found.decoded]


def test_there_are_many():
    assert len(ARCHITECTURES) >= 36
    assert set(documented()) == set(ARCHITECTURES)
