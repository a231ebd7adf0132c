"""Draw how often one policy's top-1 token was improbable in the other: whether tokens come from nowhere."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    ground,
    legend,
    main_trajectory,
    make_figure,
    ordinal_lines,
    pair_handles,
    pair_looks,
    style_handle,
)

DIRECTIONS = {
    "base_of_tuned_top1": "the tuned policy's top-1, in the base",
    "tuned_of_base_top1": "the base's top-1, in the tuned policy",
}
DASHES = {"high_js": "-", "all": "--"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "direction", "pair", "positions", "probability_below")
    return arrange(main_trajectory(table), *keys, direction=DIRECTIONS, positions=DASHES)


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    figure, panels = facets(drawn, ["set"], "direction", DIRECTIONS, height=2.4, sharex=True, sharey=True)
    levels = drawn["probability_below"].unique().sort()
    for axes, rows in panels:
        ordinal_lines(axes, rows, "probability_below", "positions", DASHES, looks)
        axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        axes.set(xlabel="probability below", ylabel="share of positions")
        axes.label_outer()
    labels = {"high_js": f"positions with JS above {spec.high:g} nats", "all": "all positions"}
    styles = [style_handle(label, linestyle=DASHES[positions]) for positions, label in labels.items()]
    ground(panels)
    legend(figure, [*pair_handles(drawn, looks), *styles])
    return figure


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
