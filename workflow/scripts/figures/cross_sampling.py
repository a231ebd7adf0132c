"""Draw accuracy against the share of replaced tokens in cross-sampling: which differences cause the gain."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import MUTED, arrange, facets, legend, make_figure, numbers
from tokenshift.figures.sweeps import (
    COMPARED,
    DIRECTION_LABELS,
    RULES,
    by_comparison,
    draw_curves,
    rule_handles,
)
from tokenshift.registries.trajectories import DIRECTIONS

LABEL_PLACES = ((0.99, "right"), (0.01, "left"))


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("pair", "set", "direction", "criterion", "quantity", "budget")
    return arrange(table, *keys, direction=DIRECTIONS, criterion=RULES, quantity=["accuracy", "effective_share"])


def draw_ends(axes: Axes, rows: pl.DataFrame) -> None:
    """The accuracies of primary and intervention alone, as labelled lines with the sweep between them."""
    ends = rows.filter(quantity="accuracy", criterion=rows["criterion"][0]).sort("budget")
    accuracies = numbers(ends, "estimate")[[0, -1]]
    sides = (-1, 1) if accuracies[0] <= accuracies[1] else (1, -1)
    # The sweep leaves the primary's line at the left and reaches the intervention's at the right: label the free ends.
    for policy, accuracy, side, (x, align) in zip(
        DIRECTIONS[ends["direction"][0]], accuracies, sides, LABEL_PLACES, strict=True
    ):
        axes.axhline(accuracy, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        alignment = {"ha": align, "va": "bottom" if side > 0 else "top"}
        axes.annotate(
            f"{policy} alone, {accuracy:.2f}", (x, accuracy), (0, 3 * side), color=MUTED, **place, **alignment
        )


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    keys = ["pair", "set", "compared"]
    shown = by_comparison(drawn).sort(keys[:2], maintain_order=True)
    figure, panels = facets(shown, keys, "direction", DIRECTION_LABELS | COMPARED, height=2.9, sharey="row")
    for axes, rows in panels:
        draw_curves(axes, rows, "accuracy")
        draw_ends(axes, rows)
        axes.set(xlabel="tokens replaced (% of all tokens)", ylabel="accuracy")
        axes.margins(y=0.13)
    for axes, _ in panels:
        axes.label_outer(remove_inner_ticks=False)
    legend(figure, rule_handles(drawn["criterion"]))
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
