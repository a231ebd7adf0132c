import numpy as np
import polars as pl
import pytest

from tokenshift.tables.cells import bins, total


def test_a_total_is_the_same_in_any_order():
    generator = np.random.default_rng(0)
    values = generator.lognormal(-8, 4, 10_000)
    totals = {
        pl.Series(generator.permutation(values)).to_frame("x").select(total(pl.col("x"))).item() for _ in range(8)
    }
    assert len(totals) == 1
    assert totals.pop() == pytest.approx(float(np.sum(values)))


def test_every_value_between_the_edges_is_in_one_bin():
    frame = pl.DataFrame({"x": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]})
    inside = frame.select(inside.alias(f"{low:g}") for low, _, inside in bins("x", [0.0, 1.0, 2.0]))
    assert inside.rows() == [(True, False), (True, False), (False, True), (False, True), (False, True), (False, False)]
