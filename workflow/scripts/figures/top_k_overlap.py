"""Draw the overlap of the two policies' top-k candidates: whether the candidates stay."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    legend,
    make_figure,
    ordinal_lines,
    pair_handles,
    pair_looks,
    style_handle,
)

DASHES = {"tuned": "-", "base": "--"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "positions", "pair", "trajectory", "k")
    return arrange(table, *keys, positions=["high_js", "all"], trajectory=DASHES)


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    names = {"high_js": f"positions with JS above {spec.high:g} nats", "all": "all positions"}
    figure, panels = facets(drawn, ["set"], "positions", names, height=2.4, sharex=True, sharey=True)
    sizes = drawn["k"].unique().sort()
    for axes, rows in panels:
        ordinal_lines(axes, rows, "k", "trajectory", DASHES, looks)
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set(xlabel="k, size of the candidate sets", ylabel="mean overlap of the top k")
        axes.label_outer()
    styles = [style_handle(f"responses of the {policy} policy", linestyle=DASHES[policy]) for policy in DASHES]
    legend(figure, [*pair_handles(drawn, looks), *styles])
    return figure


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
