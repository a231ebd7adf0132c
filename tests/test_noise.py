import numpy as np
from scipy import stats

from tokenshift.noise import uniforms


def test_a_row_depends_on_its_key_alone():
    together = uniforms(3, "token", ["a", "a", "b"], [0, 1, 0], 50)
    alone = uniforms(3, "token", ["b"], [0], 20)
    assert np.array_equal(together[2, :20], alone[0])


def test_every_part_of_the_key_matters():
    reference = uniforms(3, "token", ["a"], [0], 8)
    for other in (
        uniforms(4, "token", ["a"], [0], 8),
        uniforms(3, "coin", ["a"], [0], 8),
        uniforms(3, "token", ["b"], [0], 8),
        uniforms(3, "token", ["a"], [1], 8),
    ):
        assert not np.isclose(reference, other).any()


def test_uniform_and_uncorrelated():
    noise = uniforms(0, "token", [str(row) for row in range(200)], [0] * 200, 50)
    assert stats.kstest(noise.ravel(), "uniform").pvalue > 1e-3
    neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.04
