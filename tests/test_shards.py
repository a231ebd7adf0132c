import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.errors import StudyError
from tokenshift.shards import shard


def rollouts(samples: list[int]) -> pl.DataFrame:
    """As many rows of each problem as `samples` says."""
    problem_ids = [f"p{problem}" for problem, number in enumerate(samples) for _ in range(number)]
    return pl.DataFrame({"problem_id": problem_ids, "row": range(len(problem_ids))})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_shards_in_order_are_the_whole_and_keep_problems_together(samples, data):
    count = data.draw(st.integers(1, len(samples)))
    parts = [shard(rollouts(samples), number, count) for number in range(count)]
    assert pl.concat(parts).equals(rollouts(samples))
    sizes = [part["problem_id"].n_unique() for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(samples)


def test_more_shards_than_problems_are_refused():
    with pytest.raises(StudyError, match="4 shards of a set of 3 problems"):
        shard(rollouts([2, 2, 2]), 0, 4)
