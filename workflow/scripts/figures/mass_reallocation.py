"""Draw where probability moved between the two policies' candidates."""

import itertools

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import (
    DARK,
    Look,
    arrange,
    canvas,
    legend,
    main_trajectory,
    make_figure,
    numbers,
    pair_handles,
    pair_looks,
    panel_title,
    style_handle,
    whiskers,
)

CANDIDATES = {"shared": "both", "base_only": "the base's\nonly", "tuned_only": "the tuned\nonly", "neither": "neither"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    return arrange(
        main_trajectory(table).filter(pl.col("candidates").is_in(list(CANDIDATES))),
        *("set", "positions", "pair", "quantity", "candidates"),
        positions=["high_js", "all"],
        quantity=["mass_base", "mass_tuned", "change"],
        candidates=CANDIDATES,
    )


def places(rows: pl.DataFrame, beside: float) -> np.ndarray:
    """Where the rows' candidates stand, moved by `beside`."""
    return np.array([list(CANDIDATES).index(candidates) for candidates in rows["candidates"]]) + beside


def draw_masses(axes: Axes, rows: pl.DataFrame, beside: float, look: Look) -> None:
    """The base's mass (open) and the tuned policy's (filled), joined."""
    base, tuned = (rows.filter(quantity=quantity) for quantity in ("mass_base", "mass_tuned"))
    both = base.join(tuned, on="candidates", suffix="_tuned", maintain_order="left")
    ends = (numbers(both, column) for column in ("estimate", "estimate_tuned"))
    axes.vlines(places(both, beside), *ends, color=look.colour, linewidth=2.5, alpha=0.3)
    for mass, face in ((base, "white"), (tuned, look.colour)):
        style = {"marker": look.marker, "linestyle": "", "markerfacecolor": face}
        whiskers(axes, places(mass, beside), mass, look.colour, **style)


def draw_changes(axes: Axes, rows: pl.DataFrame, beside: float, look: Look, width: float) -> None:
    """Mass under the tuned policy minus mass under the base."""
    change = rows.filter(quantity="change")
    x = places(change, beside)
    axes.bar(x, numbers(change, "estimate"), width=width, color=look.colour, alpha=0.7, linewidth=0)
    axes.vlines(x, numbers(change, "ci_low"), numbers(change, "ci_high"), color=DARK, linewidth=0.9)


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    names = {"high_js": f"positions with JS above {spec.high:g} nats", "all": "all positions"}
    pairs = sorted(drawn["pair"].unique())
    width = 0.8 / len(pairs)
    sets, subsets = (drawn[key].unique(maintain_order=True).to_list() for key in ("set", "positions"))
    figure, grid = canvas(2 * len(sets), len(subsets), height=2.1, sharex=True, sharey="row")
    for index, (problem_set, positions) in enumerate(itertools.product(sets, subsets)):
        row, column = divmod(index, len(subsets))
        upper, lower = grid[2 * row : 2 * row + 2, column]
        view = drawn.filter(set=problem_set, positions=positions)
        for (pair,), rows in view.group_by("pair", maintain_order=True):
            beside = width * (pairs.index(pair) - (len(pairs) - 1) / 2)
            draw_masses(upper, rows, beside, looks[pair])
            draw_changes(lower, rows, beside, looks[pair], 0.85 * width)
        named = [problem_set, names[positions]] if len(sets) > 1 else [names[positions]]
        upper.set_title(panel_title(figure, len(subsets), named))
        upper.set(ylabel="probability mass")
        lower.axhline(0, color=DARK, linewidth=0.8)
        lower.set_xticks(range(len(CANDIDATES)), CANDIDATES.values())
        lower.set(xlabel="nucleus that holds the tokens", ylabel="change, tuned minus base")
        for axes in (upper, lower):
            axes.grid(axis="x", visible=False)
            axes.label_outer()
    marks = {"under the base": "white", "under the tuned policy": None}
    masses = [style_handle(name, marker="o", linestyle="", markerfacecolor=face) for name, face in marks.items()]
    legend(figure, [*pair_handles(drawn, looks), *masses])
    return figure


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
