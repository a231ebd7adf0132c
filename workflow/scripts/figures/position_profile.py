"""Draw mean JS along the response: from its start, relative to its length, from its end, and from its answer."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import PairsFigureSpec
from tokenshift.figures.style import (
    arrange,
    band,
    canvas,
    legend,
    main_trajectory,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
)

LABELS = {
    "start": "tokens from the start",
    "relative": "part of the response (%)",
    "end": "tokens from the end",
    "answer": "tokens from the final answer's first",
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
    origins = drawn["origin"].unique(maintain_order=True).to_list()
    sets = drawn["set"].unique(maintain_order=True).to_list()
    # Two panels beside one another: four would be too narrow to read.
    rows_of_set = (len(origins) + 1) // 2
    figure, grid = canvas(rows_of_set * len(sets), 2, height=1.9, sharey=True)
    for axes, place in zip(grid.flat, [(name, origin) for name in sets for origin in spread(origins)], strict=True):
        problem_set, origin = place
        if origin is None:
            axes.set_axis_off()
            continue
        rows = drawn.filter(set=problem_set, origin=origin)
        for (pair,), profile in rows.group_by("pair", maintain_order=True):
            style = {"marker": looks[pair].marker, "markersize": 2.5, "linewidth": 1.1}
            band(axes, centres(profile, origin), profile, looks[pair].colour, **style)
        if len(sets) > 1:
            axes.set_title(problem_set)
        axes.set(xlabel=LABELS[origin], ylabel="mean JS (nats)")
        if origin == "answer":
            axes.set_xscale("symlog", linthresh=1)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.axvline(0, color="0.6", linewidth=0.8, linestyle=":")
        elif origin != "relative":
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            last = rows["bin_high"].max()
            # Responses end at the right of every panel.
            axes.set_xlim((0.8, 1.25 * last) if origin == "start" else (1.25 * last, 0.8))
    for axes in grid[:, 1]:
        axes.set_ylabel("")
    top = grid[0, 0].get_ylim()[1]
    grid[0, 0].set_ylim(-0.02 * top, top)
    legend(figure, pair_handles(drawn, looks))
    return figure


def spread(origins: list[str]) -> list[str | None]:
    """Two panels a row; None where the last row has a place too many."""
    return [*origins, *[None] * (len(origins) % 2)]


def main() -> None:
    make_figure(__doc__, PairsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
