"""Positions along a response in bins: by the index of a token, or by its place relative to the response's length."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def index_edges(longest: int, bins: int) -> list[int]:
    """Integer edges 0, 1, ... `longest` of at most `bins` bins that widen geometrically.

    The shifts are at the ends of a response, within a few tokens, and a response may have 20,000 of them.
    """
    return [0, *np.unique(np.round(np.geomspace(longest, 1, bins)).astype(int)).tolist()]


def bin_of_index(index: pl.Expr, edges: Sequence[int]) -> pl.Expr:
    """Number, from 0, of the bin between `edges` that the integer `index` lies in."""
    return pl.sum_horizontal(pl.lit(0), *(index >= edge for edge in edges[1:-1]))


def over_equal_parts(tokens: pl.LazyFrame, bins: int) -> pl.LazyFrame:
    """`tokens` (with position, and length of the response) spread over `bins` equal parts of their response.

    Token t of a response of length L covers the interval [t / L, (t + 1) / L] and enters each part by what of it lies
    inside; so both ends are treated alike, and a response of fewer tokens than there are parts counts too. The result
    has a row for each token and part that it enters, with two more columns: bin, the number of the part from 0, and
    weight, in units of 1 / bins of a token, so that a token's weights sum to `bins`.
    """
    length, bin_ = pl.col("length"), pl.col("bin")
    first, last = bins * pl.col("position"), bins * (pl.col("position") + 1)  # edges of the token, of `bins` times L
    parts = tokens.with_columns(first=first, last=last, bin=pl.int_ranges(first // length, (last - 1) // length + 1))
    inside = pl.min_horizontal("last", (bin_ + 1) * length) - pl.max_horizontal("first", bin_ * length)
    return parts.explode("bin").with_columns(weight=inside).drop("first", "last")
