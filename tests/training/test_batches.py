import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.errors import StudyError
from tokenshift.training.batches import Rows, dealt, micro_batches, pad, pad_rows, shuffled_batch


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


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(LENGTHS, st.integers(1, 8), st.integers(1, 200))
def test_micro_batches_hold_each_row_once_shortest_first(lengths, size, tokens):
    cut = micro_batches(lengths, size, tokens)
    in_order = [row for rows in cut for row in rows.indices]
    assert sorted(in_order) == list(range(len(lengths)))
    assert [lengths[row] for row in in_order] == sorted(lengths)
    for rows in cut:
        assert len(rows.indices) <= size
        assert len(rows.indices) == 1 or len(rows.indices) * max(lengths[row] for row in rows.indices) <= tokens


@given(LENGTHS, st.integers(1, 8), st.integers(1, 5))
def test_micro_batches_are_dealt_to_the_processes(lengths, size, world_size):
    cut = micro_batches(lengths, size, 200)
    hands = [dealt(cut, rank, world_size) for rank in range(world_size)]
    assert len({len(hand) for hand in hands}) == 1
    working = [rows.indices for hand in hands for rows in hand if not rows.idle]
    assert sorted(working) == sorted(rows.indices for rows in cut)


def test_an_idle_micro_batch_has_no_targets():
    batch = pad_rows(Rows([1], idle=True), [[5, 6], [5, 6, 7]], [1, 1], torch.device("cpu"))
    assert batch.tokens.tolist() == [[5, 6, 7]]
    assert not batch.mask.any()


def test_padding_and_targets():
    batch = pad([[5, 6, 7, 8], [5, 6, 7]], [2, 1], torch.device("cpu"))
    assert batch.tokens.tolist() == [[5, 6, 7, 8], [5, 6, 7, 0]]
    assert batch.first == 1
    assert batch.targets.tolist() == [[6, 7, 8], [6, 7, 0]]
    assert batch.mask.tolist() == [[False, True, True], [True, True, False]]
