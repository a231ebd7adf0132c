import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.errors import StudyError
from tokenshift.training.batches import micro_batches, pad, shuffled_batch


@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 10))
def test_an_epoch_draws_no_row_twice(seed, population, size):
    size = min(size, population)
    rows = np.concatenate([shuffled_batch(seed, population, size, number) for number in range(population // size)])
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(population))


def test_epochs_and_seeds_differ_in_order():
    first, second, other = (shuffled_batch(*key) for key in ((0, 50, 50, 0), (0, 50, 50, 1), (1, 50, 50, 0)))
    assert sorted(first) == sorted(second)
    assert list(first) != list(second)
    assert list(first) != list(other)


def test_too_few_rows_are_refused():
    with pytest.raises(StudyError, match="cannot draw a batch of 8 rows from 5"):
        shuffled_batch(0, 5, 8, 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 8))
def test_micro_batches_hold_each_row_once_shortest_first(lengths, size):
    parts = micro_batches(lengths, size)
    flat = [row for part in parts for row in part]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[row] for row in flat] == sorted(lengths)
    assert all(len(part) <= size for part in parts)


def test_padding_and_targets():
    batch = pad([[5, 6, 7, 8], [5, 6, 7]], [2, 1], torch.device("cpu"))
    assert batch.tokens.tolist() == [[5, 6, 7, 8], [5, 6, 7, 0]]
    assert batch.first == 1
    assert batch.targets.tolist() == [[6, 7, 8], [6, 7, 0]]
    assert batch.mask.tolist() == [[False, True, True], [True, True, False]]
