"""Draw the share of the gain that replaced tokens recover or lose, and the smallest share of tokens that suffices."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import MUTED, arrange, facets, legend, make_figure, numbers, style_handle
from tokenshift.figures.sweeps import (
    COMPARED,
    DIRECTION_LABELS,
    RULES,
    by_comparison,
    curve,
    draw_curves,
    rule_handles,
    rule_line,
)

SUFFICIENT = "sufficient_share_paired"
LABELS = {"forward": "gain recovered (%)", "reverse": "gain lost (%)"}
RING = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.2, "linestyle": ""}

BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("pair", "set", "direction", "criterion", "quantity", "budget")
    quantities = ["recovered_gain", "effective_share", SUFFICIENT]
    return arrange(table, *keys, direction=DIRECTION_LABELS, criterion=RULES, quantity=quantities)


def in_percent(drawn: pl.DataFrame) -> pl.DataFrame:
    """The recovered gain in percent; the effective share becomes so where it is drawn."""
    percent = pl.when(pl.col("quantity") == "recovered_gain").then(100).otherwise(1)
    return drawn.with_columns(pl.col("estimate", "ci_low", "ci_high") * percent)


def mark_sufficient(axes: Axes, rows: pl.DataFrame) -> None:
    """A ring around the point of the smallest sufficient share of each rule; for js its value too."""
    for sweep in rows.partition_by("criterion", maintain_order=True):
        found = sweep.filter(pl.col("estimate").is_not_null(), quantity=SUFFICIENT)
        points = curve(sweep, "recovered_gain").filter(pl.col("budget").is_in(found["budget"].implode()))
        criterion = sweep["criterion"][0]
        for x, y in zip(numbers(points, "x"), numbers(points, "estimate"), strict=True):
            axes.plot(x, y, **RING, markeredgecolor=rule_line(criterion)["color"], zorder=4)
            if criterion == "js":
                label = {"textcoords": "offset points", "ha": "right", "va": "bottom", "zorder": 4, "bbox": BEHIND}
                axes.annotate(f"{x:.2g} %", (x, y), (-6, 3), **label)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    keys = ["pair", "set", "compared"]
    shown = by_comparison(in_percent(drawn)).sort(keys[:2], maintain_order=True)
    figure, panels = facets(shown, keys, "direction", DIRECTION_LABELS | COMPARED, height=2.7, sharey="row")
    for axes, rows in panels:
        draw_curves(axes, rows, "recovered_gain")
        mark_sufficient(axes, rows)
        for level in (0, 100):
            axes.axhline(level, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        if not np.isfinite(numbers(rows.filter(quantity="recovered_gain"), "estimate")).any():
            place = {"transform": axes.transAxes, "ha": "center", "va": "center", "color": MUTED}
            axes.text(0.5, 0.5, "no clear gap between the policies", **place)
        axes.set(xlabel="tokens replaced (% of all tokens)", ylabel=LABELS[rows["direction"][0]])
    handles = rule_handles(drawn["criterion"])
    legend(figure, [*handles, style_handle("smallest sufficient share", markeredgecolor=MUTED, **RING)])
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
