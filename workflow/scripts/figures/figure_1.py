"""Draw the finding in four panels: how sparse shifts are, where they are, whether they suffice, and are necessary."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tokenshift.command import run
from tokenshift.config.specs import FigureOneSpec
from tokenshift.figures.style import (
    DARK,
    MUTED,
    TEXT_WIDTH,
    arrange,
    band,
    main_trajectory,
    make_figure,
    numbers,
)
from tokenshift.figures.sweeps import RULES, draw_curves, draw_ends, rule_line
from tokenshift.figures.tokens import draw_token_shares
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.trajectories import DIRECTIONS

SHOWN = ["js", *CONTROLS]  # rules of the lower panels
LISTED = 8  # tokens
DASHES = {"js": "-", "js_nucleus": (0, (4, 1.5))}
KINDS = {"js": "full vocabulary", "js_nucleus": "truncated as sampled"}
TITLES = {
    "forward": "c  Do they suffice? The base, with tuned tokens",
    "reverse": "d  Are they necessary? The tuned, with base tokens",
}
COLOUR = rule_line("js")["color"]
CONTROL_LINE = {"color": "0.55", "marker": "o", "markersize": 2.5, "linewidth": 0.9, "zorder": 2.2}


def select(sparsity: pl.DataFrame, identity: pl.DataFrame, sweeps: pl.DataFrame | None = None) -> pl.DataFrame:
    """The rows of the three tables, with the panel that each is drawn in; without sweeps, two panels."""
    sparse = arrange(
        main_trajectory(sparsity), "pair", "set", "divergence", "quantity", "threshold", divergence=DASHES
    ).filter(pl.col("quantity").is_in(["share_below", "share_above"]))
    where = main_trajectory(identity).filter(pl.col("quantity").is_in(["share_of_js", "share_of_positions"]))
    where = where.filter(pl.int_range(pl.len()).over("pair", "set", "quantity") < LISTED)
    parts = [sparse.with_columns(panel=pl.lit("sparse")), where.with_columns(panel=pl.lit("where"))]
    if sweeps is not None:
        keys = ("pair", "set", "direction", "criterion", "quantity", "budget")
        quantities = ["accuracy", "effective_share"]
        drawn = arrange(sweeps, *keys, direction=DIRECTIONS, criterion=RULES, quantity=quantities)
        parts.append(drawn.filter(pl.col("criterion").is_in(SHOWN)).with_columns(panel=pl.col("direction")))
    return pl.concat(parts, how="diagonal_relaxed")


def draw_sparse(axes: Axes, rows: pl.DataFrame, high: float) -> None:
    """Share of positions with JS below each value, over the whole vocabulary and truncated."""
    above = rows.filter(pl.col("estimate").is_not_null(), quantity="share_above")
    shares = {row["divergence"]: f": {row['estimate']:.1%}" for row in above.iter_rows(named=True)}
    for (divergence,), curve in rows.filter(quantity="share_below").group_by("divergence", maintain_order=True):
        x = numbers(curve, "threshold")
        band(axes, x, curve, COLOUR, linestyle=DASHES[divergence], label=KINDS[divergence] + shares.get(divergence, ""))
    axes.axvline(high, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="JS (nats)", ylabel="share of positions below", ylim=(-0.02, 1.04))
    axes.legend(loc="best", fontsize=6.5, title=f"share of positions above {high:g}", title_fontsize=6.5)
    axes.set_title("a  How sparse are the shifts?", color=DARK)


def draw_where(axes: Axes, rows: pl.DataFrame) -> None:
    """The tokens that carry most of all JS, with their share of all positions."""
    draw_token_shares(axes, rows, COLOUR)
    axes.set_xlabel("share of the token (%)")
    axes.legend(loc="lower right", fontsize=6.5)
    axes.set_title("b  Where are they? Tokens that carry most of JS", color=DARK)


def sweep_line(criterion: str) -> dict[str, object]:
    """Line of a rule: the random controls alike, since the figure of cross-sampling tells them apart."""
    return rule_line("js") if criterion == "js" else CONTROL_LINE.copy()


def draw_sweep(axes: Axes, rows: pl.DataFrame, direction: str) -> None:
    """Accuracy against the share of replaced tokens, by JS and by the random controls."""
    if rows.is_empty():
        axes.set_axis_off()
        return
    axes.set_title(TITLES[direction], color=DARK)
    draw_curves(axes, rows, "accuracy", sweep_line)
    draw_ends(axes, rows)
    axes.set(xlabel="tokens replaced (% of all)", ylabel="accuracy")
    axes.margins(y=0.14)
    handles = [Line2D([], [], label="where JS is high", **sweep_line("js"))]
    if set(rows["criterion"]) & set(CONTROLS):
        handles.append(Line2D([], [], label="at random", **CONTROL_LINE))
    # The sweep leaves the accuracy of the primary alone at the left: the right, inside of it, is free.
    first, last = numbers(rows.filter(quantity="accuracy", criterion="js").sort("budget"), "estimate")[[0, -1]]
    place = {"bbox_to_anchor": (1, first), "bbox_transform": axes.get_yaxis_transform(), "fontsize": 6.5}
    axes.legend(handles=handles, loc="lower right" if first <= last else "upper right", **place)


def of_one_pair(selected: pl.DataFrame, spec: FigureOneSpec) -> pl.DataFrame:
    """The rows of the pair and the set that the figure tells of."""
    return selected.filter(pair=spec.pair, set=spec.set)


def draw(rows: pl.DataFrame, spec: FigureOneSpec) -> Figure:
    directions = [name for name in TITLES if name in rows["panel"].to_list()]
    figure = Figure(figsize=(TEXT_WIDTH, 4.6 if directions else 2.5), layout="constrained")
    grid = figure.subplots(2 if directions else 1, 2, squeeze=False)
    draw_sparse(grid[0, 0], rows.filter(panel="sparse"), spec.high)
    draw_where(grid[0, 1], rows.filter(panel="where"))
    for axes, direction in zip(grid[1:].flat, TITLES, strict=False):
        draw_sweep(axes, rows.filter(panel=direction), direction)
    return figure


def main() -> None:
    make_figure(__doc__, FigureOneSpec, select, draw, of_one_pair)


if __name__ == "__main__":
    run(main)
