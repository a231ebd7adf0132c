"""Draw both policies' entropy in bins of JS: whether changed positions were uncertain."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import EntropyByJsFigureSpec
from tokenshift.figures.style import (
    FAINT,
    MUTED,
    POLICY_COLOURS,
    arrange,
    band,
    canvas,
    direct_labels,
    main_trajectory,
    make_figure,
    numbers,
    panel_title,
)

QUANTITIES = ["share_of_positions", "mean_entropy", "share_low_entropy"]
POLICIES = ["base", "tuned"]
SLANTED = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    # A bin's share of positions is the same row for either policy.
    once = main_trajectory(table).filter((pl.col("quantity") != "share_of_positions") | (pl.col("policy") == "base"))
    return arrange(once, "quantity", "set", "pair", "policy", "js_low", quantity=QUANTITIES, policy=POLICIES)


def draw_shares(axes: Axes, rows: pl.DataFrame, lows: pl.Series) -> None:
    """How many positions each bin has, as grey bars behind the curves."""
    behind = axes.twinx()
    behind.bar(lows.search_sorted(rows["js_low"]), numbers(rows, "estimate"), width=0.92, color="0.93", linewidth=0)
    behind.set(ylim=(0, 1))
    behind.axis("off")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def draw_policies(axes: Axes, rows: pl.DataFrame, lows: pl.Series) -> dict[str, tuple[float, float]]:
    """A quantity of both policies over the bins; where each curve ends."""
    ends = {}
    for (policy,), line in rows.group_by("policy", maintain_order=True):
        x = lows.search_sorted(line["js_low"]).to_numpy()
        band(axes, x, line, POLICY_COLOURS[policy], marker="o", markersize=2.5)
        known = np.flatnonzero(np.isfinite(numbers(line, "estimate")))
        if len(known):
            ends[policy] = (x[known[-1]], numbers(line, "estimate")[known[-1]])
    return ends


def draw(drawn: pl.DataFrame, spec: EntropyByJsFigureSpec) -> Figure:
    edges = sorted({*drawn["js_low"], *drawn["js_high"]})
    lows = pl.Series(edges[:-1])
    panels = drawn.select("set", "pair").unique(maintain_order=True).sort("set", "pair").rows()
    labels = {
        "mean_entropy": "mean entropy (nats)",
        "share_low_entropy": f"share with entropy\nbelow {spec.low_entropy:g} nats",
    }
    figure, grid = canvas(len(labels), len(panels), height=1.75, sharex=True, sharey="row")
    ends = {}
    for column, (problem_set, pair) in zip(grid.T, panels, strict=True):
        rows = drawn.filter(set=problem_set, pair=pair)
        for axes, quantity in zip(column, labels, strict=True):
            draw_shares(axes, rows.filter(quantity="share_of_positions"), lows)
            ends[axes] = draw_policies(axes, rows.filter(quantity=quantity), lows)
            # A bin's estimates stand halfway between its edges.
            axes.set_xticks([rank - 0.5 for rank in range(len(edges))], [f"{edge:.3g}" for edge in edges], **SLANTED)
            axes.set(xlim=(-0.6, len(lows) + 0.9), ylabel=labels[quantity])
            axes.spines["bottom"].set_color(FAINT)
            axes.label_outer()
        name = [pair] if drawn["set"].n_unique() == 1 else [problem_set, pair]
        column[0].set_title(panel_title(figure, len(panels), name))
        column[-1].set_xlabel("JS (nats), edges of the bins")
    for axes, of_panel in ends.items():
        direct_labels(axes, of_panel, POLICY_COLOURS)
    place = {"xycoords": "axes fraction", "color": MUTED, "fontsize": 6}
    grid[0, 0].annotate("grey: share of positions, 0 to 1", (0.02, 0.93), **place)
    return figure


def main() -> None:
    make_figure(__doc__, EntropyByJsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
