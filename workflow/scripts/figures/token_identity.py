"""Draw which tokens carry the JS, and whether the same token does so wherever it occurs."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import arrange, main_trajectory, make_figure, numbers, pair_looks, panel_pairs
from tokenshift.figures.tokens import draw_token_shares

QUANTITIES = ["variance_explained", "share_of_js", "share_high", "share_of_positions"]
MARGIN, ROW = 1.25, 0.165  # inches around a panel's bars, and of each
LISTED = 12  # tokens


def select(table: pl.DataFrame) -> pl.DataFrame:
    rows = main_trajectory(table)
    place = pl.int_range(pl.len()).over("pair", "set", "quantity")
    return arrange(rows.filter(place < LISTED), "set", "pair", "quantity", quantity=QUANTITIES)


def draw_contexts(axes: Axes, rows: pl.DataFrame, colour: object) -> None:
    """At what share of its own positions each token has high JS: at 0 or 1, were its identity all that matters."""
    high = rows.filter(quantity="share_high")
    y = range(len(high))
    axes.hlines(y, 100 * numbers(high, "ci_low"), 100 * numbers(high, "ci_high"), color=colour, linewidth=1.1)
    axes.plot(100 * numbers(high, "estimate"), y, marker="o", linestyle="", color=colour)
    axes.set(xlim=(-4, 104))
    axes.set_xticks([0, 50, 100])
    axes.tick_params(labelleft=False)


def rest(rows: pl.DataFrame) -> str:
    """What the tokens that are not drawn carry, in words; empty where it was not measured."""
    shares = rows.filter(quantity="share_of_js")["estimate"]
    return "" if shares.is_empty() or shares.has_nulls() else f"other tokens: {1 - shares.sum():.0%} of JS"


def explained(rows: pl.DataFrame) -> str:
    """What share of the variance of JS identity explains, in words; empty where it was not measured."""
    measured = rows.filter(pl.col("estimate").is_not_null(), quantity="variance_explained")
    if measured.is_empty():
        return ""
    estimate, low, high = measured.select("estimate", "ci_low", "ci_high").row(0)
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    return f"identity explains\n{estimate:.2f}{interval}"


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    most = max((len(part) for part in drawn.filter(quantity="share_of_js").partition_by("set", "pair")), default=1)
    figure, panels = panel_pairs(drawn, "set", "pair", height=MARGIN + ROW * most, ratios=(2.4, 1))
    for (shares, contexts), rows in panels:
        pair = rows["pair"][0]
        draw_token_shares(shares, rows, looks[pair].colour)
        draw_contexts(contexts, rows, looks[pair].colour)
        name = pair if drawn["set"].n_unique() == 1 else f"{rows['set'][0]} · {pair}"
        shares.set_title(f"{name}\n{explained(rows)}\n{rest(rows)}", fontsize=6.5)
        shares.set(xlabel="% of all JS (bar),\nof all positions (tick)")
        contexts.set(xlabel=f"% of its own\nwith JS > {spec.high:g}")
        for axes in (shares, contexts):
            axes.set_ylim(most - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
    return figure


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
