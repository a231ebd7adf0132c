"""Draw the joint histogram of JS and entropy."""

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import DARK, arrange, facets, main_trajectory, make_figure, numbers

POLICIES = {"base": "entropy of the base", "tuned": "entropy of the tuned policy"}
SHARES = LogNorm(1e-5, 1)  # fixed, so that figures of different studies can be compared
COLOURS = "YlGnBu"
LABELLED = 0.01  # a cell with at least so many of the positions has its percentage in it


def select(table: pl.DataFrame) -> pl.DataFrame:
    """All cells of the bins, of either quantity, up to the highest in which any panel has positions."""
    keys = ("set", "policy", "pair", "js_low", "entropy_low")
    drawn = arrange(main_trajectory(table), *keys, policy=POLICIES)
    filled = drawn.filter(pl.col("estimate") > 0)
    if filled.is_empty():
        return drawn
    return drawn.filter(*(pl.col(f"{key}_low") <= filled[f"{key}_low"].max() for key in ("js", "entropy")))


def edges(rows: pl.DataFrame, quantity: str) -> list[float]:
    """Edges of the bins of js or entropy, increasing."""
    return sorted({*rows[f"{quantity}_low"], *rows[f"{quantity}_high"]})


def draw_cells(axes: Axes, rows: pl.DataFrame) -> None:
    """The shares as colours, one square a cell however wide its bins; cells without positions stay blank."""
    of_js, of_entropy = edges(rows, "js"), edges(rows, "entropy")
    shares = numbers(rows, "estimate").reshape(len(of_js) - 1, len(of_entropy) - 1)
    empty = ~(shares > 0)
    for across, up in np.argwhere(shares >= LABELLED):
        ink = "white" if SHARES(shares[across, up]) > 0.62 else DARK
        place = {"ha": "center", "va": "center", "fontsize": 5.5, "color": ink}
        axes.text(across + 0.5, up + 0.5, f"{100 * shares[across, up]:.0f}", **place)
    axes.pcolormesh(np.ma.masked_array(shares.T, empty.T), norm=SHARES, cmap=COLOURS, linewidth=0.4, edgecolor="white")
    axes.set_xticks(
        range(len(of_js)), [f"{edge:.3g}" for edge in of_js], rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(of_entropy)), [f"{edge:.3g}" for edge in of_entropy])
    axes.grid(visible=False)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    figure, panels = facets(drawn, ["set", "policy"], "pair", POLICIES, height=2.2, sharex=True, sharey=True)
    for axes, rows in panels:
        draw_cells(axes, rows)
        axes.set(xlabel="JS divergence (nats)", ylabel="entropy (nats)")
        axes.label_outer()
    colours = ScalarMappable(SHARES, matplotlib.colormaps[COLOURS])
    bar = figure.colorbar(colours, ax=figure.axes, location="bottom", aspect=50, shrink=0.6)
    bar.set_label("share of positions (percent in the cells)")
    bar.outline.set_edgecolor(DARK)
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
