"""Draw the distribution of JS over response positions: how sparse the shifts are."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tokenshift.command import run
from tokenshift.config.specs import ThresholdsFigureSpec
from tokenshift.figures.style import (
    MUTED,
    arrange,
    band,
    facets,
    legend,
    make_figure,
    numbers,
    pair_looks,
    style_handle,
    trajectory_names,
)

DASHES = {"js": "-", "js_nucleus": (0, (4, 1.5))}


QUANTITIES = ["share_below", "share_above"]


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "trajectory", "pair", "divergence", "quantity", "threshold")
    orders = {"trajectory": trajectory_names(table), "divergence": DASHES, "quantity": QUANTITIES}
    return arrange(table, *keys, **orders)


def share_high(rows: pl.DataFrame, high: float) -> str:
    """What share of positions is high, of either divergence, for each pair: in words, a line for each."""
    lines = [f"JS above {high:g} at"]
    high_rows = rows.filter(pl.col("estimate").is_not_null(), quantity="share_above")
    for (pair,), both in high_rows.group_by("pair", maintain_order=True):
        shares = {row["divergence"]: f"{row['estimate']:.1%}" for row in both.iter_rows(named=True)}
        lines.append(f"{pair}: {shares['js']}, truncated {shares['js_nucleus']}")
    return "\n".join(lines)


def draw(drawn: pl.DataFrame, spec: ThresholdsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    figure, panels = facets(drawn, ["set"], "trajectory", trajectory_names(drawn), height=2.9, sharex=True, sharey=True)
    for axes, rows in panels:
        below = rows.filter(quantity="share_below")
        for (pair, divergence), curve in below.group_by("pair", "divergence", maintain_order=True):
            band(axes, numbers(curve, "threshold"), curve, looks[pair].colour, linestyle=DASHES[divergence])
        for level, align, points in ((spec.near_zero, "right", -2), (spec.high, "left", 2)):
            axes.axvline(level, color=MUTED, linewidth=0.8, linestyle=":")
            place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "ha": align}
            axes.annotate(f"{level:g}", (level, 0.03), (points, 0), color=MUTED, **place)
        axes.set_title(f"{axes.get_title('left')}\n{share_high(rows, spec.high)}", linespacing=1.3)
        axes.set(xscale="log", xlabel="JS divergence (nats)", ylabel="share of positions below")
        axes.label_outer()
    pairs = [Line2D([], [], color=looks[pair].colour, label=pair) for pair in sorted(drawn["pair"].unique())]
    kinds = {"js": "full vocabulary", "js_nucleus": "truncated to the nuclei"}
    legend(figure, [*pairs, *(style_handle(kind, linestyle=DASHES[key]) for key, kind in kinds.items())])
    return figure


def main() -> None:
    make_figure(__doc__, ThresholdsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
