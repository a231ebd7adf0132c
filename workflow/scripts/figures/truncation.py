"""Draw JS under several truncations and temperatures: whether the shifts are an artefact of truncation."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import ThresholdsFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    ground,
    legend,
    main_trajectory,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
    whiskers,
)

QUANTITIES = ["share_near_zero", "share_high", "share_high_of_full"]


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "quantity", "pair", "temperature", "top_p")
    return arrange(main_trajectory(table), *keys, quantity=QUANTITIES)


def label(temperature: float, top_p: float) -> str:
    return f"T {temperature:g}\n" + ("full" if top_p == 1 else f"top-p {top_p:g}")


def draw(drawn: pl.DataFrame, spec: ThresholdsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    names = {
        "share_near_zero": f"share of positions with JS below {spec.near_zero:g}",
        "share_high": f"share of positions with JS above {spec.high:g}",
        "share_high_of_full": f"the same, of those where the full JS is above {spec.high:g}",
    }
    cuts = drawn.select("temperature", "top_p").unique().sort("temperature", "top_p", descending=True).rows()
    pairs = sorted(drawn["pair"].unique())
    figure, panels = facets(drawn, ["set"], "quantity", names, height=2.4, sharex=True)
    for axes, rows in panels:
        for (pair,), line in rows.group_by("pair", maintain_order=True):
            beside = 0.12 * (pairs.index(pair) - (len(pairs) - 1) / 2)
            x = [cuts.index(cut) + beside for cut in line.select("temperature", "top_p").rows()]
            whiskers(axes, x, line, looks[pair].colour, marker=looks[pair].marker, linestyle="")
        axes.set_xticks(range(len(cuts)), [label(*cut) for cut in cuts])
        axes.margins(x=0.08)
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.05 * numbers(rows, "ci_high").max()))
    ground(panels)
    panels[0][0].set_ylabel("share of positions")
    legend(figure, pair_handles(drawn, looks))
    return figure


def main() -> None:
    make_figure(__doc__, ThresholdsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
