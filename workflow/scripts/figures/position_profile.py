"""Draw mean JS along the response: from its start, relative to its length, from its end, and from its answer."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import PairsFigureSpec
from tokenshift.figures.style import (
    arrange,
    band,
    facets,
    ground,
    legend,
    main_trajectory,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
)

LABELS = {
    "start": "token, counted from the start",
    "relative": "part of the response (%)",
    "end": "token, counted from the end",
    "answer": "token, counted from the answer's first",
}


def select(table: pl.DataFrame) -> pl.DataFrame:
    # Where no response has a boxed answer, there is nothing to count from, and no panel.
    drawn = main_trajectory(table).filter(
        pl.col("estimate").is_not_null().any().over("origin") | (pl.col("origin") != "answer")
    )
    return arrange(drawn, "set", "origin", "pair", "bin_low", origin=LABELS)


def centres(rows: pl.DataFrame, origin: str) -> np.ndarray:
    """Centres of the bins, in percent of the response or in tokens: from 1, or from the answer, its first being 0."""
    low, high = numbers(rows, "bin_low"), numbers(rows, "bin_high")
    if origin == "relative":
        return 100 * (low + high) / 2
    return (low + high - 1) / 2 + (origin != "answer")


def draw(drawn: pl.DataFrame, spec: PairsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    unnamed = dict.fromkeys(LABELS, "")
    figure, panels = facets(drawn, ["set"], "origin", unnamed, height=2.3, sharex="col", sharey="row")
    for axes, rows in panels:
        origin = rows["origin"][0]
        for (pair,), profile in rows.group_by("pair", maintain_order=True):
            style = {"marker": looks[pair].marker, "markersize": 2.5}
            band(axes, centres(profile, origin), profile, looks[pair].colour, **style)
        axes.set(xlabel=LABELS[origin], ylabel="mean JS (nats)")
        if origin == "answer":
            axes.set_xscale("symlog", linthresh=1)
            axes.xaxis.set_major_formatter("{x:g}")
        elif origin != "relative":
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            last = rows["bin_high"].max()
            # Responses end at the right of every panel.
            axes.set_xlim((0.8, 1.25 * last) if origin == "start" else (1.25 * last, 0.8))
        axes.label_outer()
    ground(panels)
    legend(figure, pair_handles(drawn, looks))
    return figure


def main() -> None:
    make_figure(__doc__, PairsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
