"""Draw accuracy against the share of replaced tokens in cross-sampling: which differences cause the gain."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.figures import (
    MUTED,
    arrange,
    band,
    facets,
    legend,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
    style_handle,
)

POLICIES = {"forward": ("base", "tuned"), "reverse": ("tuned", "base")}  # primary and intervention
DIRECTIONS = {
    "forward": "forward: the base, with tokens of the tuned policy",
    "reverse": "reverse: the tuned policy, with tokens of the base",
}
CRITERIA = ["random", "js"]  # js last, on top
LABEL_PLACES = ((0.99, "right"), (0.01, "left"))


def select(table: pl.DataFrame, spec: dict) -> pl.DataFrame:
    keys = ("pair", "set", "direction", "criterion", "quantity", "budget")
    return arrange(table, *keys, direction=POLICIES, criterion=CRITERIA, quantity=["accuracy", "effective_share"])


def draw_sweep(axes: Axes, rows: pl.DataFrame, colour: object, **line: object) -> None:
    """Accuracy over the effective share in percent, both with their intervals."""
    accuracy, share = (rows.filter(quantity=quantity) for quantity in ("accuracy", "effective_share"))
    percent = share.select(
        "budget", x=100 * pl.col("estimate"), x_low=100 * pl.col("ci_low"), x_high=100 * pl.col("ci_high")
    )
    points = accuracy.join(percent, on="budget").sort("x", "budget")
    x, low, high = (numbers(points, column) for column in ("x", "x_low", "x_high"))
    band(axes, x, points, colour, **line)
    axes.hlines(numbers(points, "estimate"), low, high, color=colour, linewidth=0.8, alpha=0.6)
    axes.vlines(x, numbers(points, "ci_low"), numbers(points, "ci_high"), color=colour, linewidth=0.8, alpha=0.6)


def draw_ends(axes: Axes, rows: pl.DataFrame) -> None:
    """The accuracies of primary and intervention alone, as labelled lines with the sweep between them."""
    ends = rows.filter(quantity="accuracy").sort("budget")
    accuracies = numbers(ends, "estimate")[[0, -1]]
    sides = (-1, 1) if accuracies[0] <= accuracies[1] else (1, -1)
    # The sweep leaves the primary's line at the left and reaches the intervention's at the right: label the free ends.
    for policy, accuracy, side, (x, align) in zip(
        POLICIES[ends["direction"][0]], accuracies, sides, LABEL_PLACES, strict=True
    ):
        axes.axhline(accuracy, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        alignment = {"ha": align, "va": "bottom" if side > 0 else "top"}
        axes.annotate(
            f"{policy} alone, {accuracy:.2f}", (x, accuracy), (0, 3 * side), color=MUTED, **place, **alignment
        )


def draw(drawn: pl.DataFrame, spec: dict) -> Figure:
    looks = pair_looks(spec["pairs"])
    figure, panels = facets(drawn, ["pair", "set"], "direction", DIRECTIONS, height=2.9, sharey="row")
    for axes, rows in panels:
        look = looks[rows["pair"][0]]
        styles = {
            "js": {"colour": look.colour, "marker": look.marker, "linewidth": 1.8, "markersize": 4.5},
            "random": {"colour": MUTED, "marker": look.marker, "linestyle": "--", "markerfacecolor": "white"},
        }
        for (criterion,), sweep in rows.group_by("criterion", maintain_order=True):
            draw_sweep(axes, sweep, **styles[criterion])
        draw_ends(axes, rows)
        axes.set(xlabel="tokens replaced (% of all tokens)", ylabel="accuracy")
        axes.margins(y=0.13)
    for axes, _ in panels:
        axes.label_outer(remove_inner_ticks=False)
    pairs = pair_handles(drawn, looks)
    for handle in pairs:
        handle.set_label(f"{handle.get_label()}: switched where JS is above a threshold")
    control = style_handle("switched at random positions, as many", marker="o", linestyle="--", markerfacecolor="white")
    legend(figure, [*pairs, control])
    return figure


def main() -> None:
    make_figure(__doc__, select, draw)


if __name__ == "__main__":
    run(main)
