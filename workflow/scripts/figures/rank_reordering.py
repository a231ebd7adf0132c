"""Draw the rank of one policy's top-1 token in the other: reordering or invention."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    legend,
    main_trajectory,
    make_figure,
    ordinal_lines,
    pair_handles,
    pair_looks,
    style_handle,
)

DIRECTIONS = {
    "base_rank_of_tuned_top1": "the tuned policy's top-1, ranked by the base",
    "tuned_rank_of_base_top1": "the base's top-1, ranked by the tuned policy",
}
DASHES = {"high_js": "-", "all": "--"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "direction", "pair", "positions", "rank_at_most")
    return arrange(main_trajectory(table), *keys, direction=DIRECTIONS, positions=DASHES)


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    figure, panels = facets(drawn, ["set"], "direction", DIRECTIONS, height=2.4, sharex=True, sharey=True)
    ranks = drawn["rank_at_most"].unique().sort()
    for axes, rows in panels:
        ordinal_lines(axes, rows, "rank_at_most", "positions", DASHES, looks)
        axes.set_xticks(range(len(ranks)), ranks)
        axes.set(xlabel="rank at most", ylabel="share of positions")
        axes.label_outer()
    labels = {"high_js": f"positions with JS above {spec.high:g} nats", "all": "all positions"}
    styles = [style_handle(label, linestyle=DASHES[positions]) for positions, label in labels.items()]
    legend(figure, [*pair_handles(drawn, looks), *styles])
    return figure


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
