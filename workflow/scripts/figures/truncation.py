"""Draw JS under several truncations and temperatures: whether the shifts are an artefact of truncation."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import ThresholdsFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    legend,
    main_trajectory,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
)

QUANTITIES = ["share_near_zero", "share_high", "share_high_of_full"]


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "quantity", "pair", "temperature", "top_p")
    return arrange(main_trajectory(table), *keys, quantity=QUANTITIES)


def label(temperature: float, top_p: float) -> str:
    return f"T {temperature:g}, " + ("full" if top_p == 1 else f"top-p {top_p:g}")


def draw(drawn: pl.DataFrame, spec: ThresholdsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    names = {
        "share_near_zero": f"JS below {spec.near_zero:g}",
        "share_high": f"JS above {spec.high:g}",
        "share_high_of_full": f"JS above {spec.high:g}, of those with full JS above it",
    }
    cuts = drawn.select("temperature", "top_p").unique().sort("temperature", "top_p", descending=True).rows()
    pairs = sorted(drawn["pair"].unique())
    height = 1.1 + 0.12 * len(cuts) * len(pairs)
    figure, panels = facets(drawn, ["set"], "quantity", names, height=height, sharey=True)
    for axes, rows in panels:
        for (pair,), line in rows.group_by("pair", maintain_order=True):
            beside = 0.7 / len(pairs) * (pairs.index(pair) - (len(pairs) - 1) / 2)
            y = [cuts.index(cut) + beside for cut in line.select("temperature", "top_p").rows()]
            look = {"marker": looks[pair].marker, "linestyle": "", "color": looks[pair].colour}
            axes.hlines(y, 100 * numbers(line, "ci_low"), 100 * numbers(line, "ci_high"), color=look["color"])
            axes.plot(100 * numbers(line, "estimate"), y, **look)
        axes.set_yticks(range(len(cuts)), [label(*cut) for cut in cuts])
        axes.set(xlabel="% of positions", ylim=(len(cuts) - 0.5, -0.5))
        axes.set_xlim(-0.02 * axes.get_xlim()[1], axes.get_xlim()[1])
        axes.label_outer()
    legend(figure, pair_handles(drawn, looks))
    return figure


def main() -> None:
    make_figure(__doc__, ThresholdsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
