"""Draw where one policy's top-1 token stood in the other: among its first choices, or from nowhere."""

from itertools import pairwise

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tokenshift.command import run
from tokenshift.config.specs import HighFigureSpec
from tokenshift.figures.style import DARK, arrange, canvas, main_trajectory, make_figure, numbers

DIRECTIONS = {"tuned_top1_in_base": "tuned's top-1 in the base", "base_top1_in_tuned": "base's top-1 in the tuned"}
POSITIONS = ["high_js", "all"]
QUANTITIES = {"rank_at_most": "its rank there", "probability_below": "its probability there"}
LABELLED = 0.075  # a part at least so large has its percentage in it


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("set", "quantity", "direction", "positions", "pair", "level")
    return arrange(main_trajectory(table), *keys, quantity=QUANTITIES, direction=DIRECTIONS, positions=POSITIONS)


def part_names(quantity: str, levels: list[float]) -> list[str]:
    """What each part of a bar stands for, from the first choice, or the most probable, on."""
    words = [f"{level:g}" for level in levels]
    if quantity == "rank_at_most":
        firsts = [f"{low + 1:g}" for low in levels[:-1]]
        between = [
            first if first == last else f"{first} to {last}" for first, last in zip(firsts, words[1:], strict=True)
        ]
        return [f"rank {words[0]}", *between, f"> {words[-1]}"]
    between = [f"{high} to {low}" for low, high in pairwise(reversed(words))]
    return [f"p ≥ {words[-1]}", *between, f"< {words[0]}"]


def cumulative(rows: pl.DataFrame, quantity: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of positions up to the end of each part but the last, with the interval of each."""
    estimate, low, high = (numbers(rows, column) for column in ("estimate", "ci_low", "ci_high"))
    if quantity == "rank_at_most":
        return estimate, low, high
    return 1 - estimate[::-1], 1 - high[::-1], 1 - low[::-1]


def draw_bar(axes: Axes, y: float, rows: pl.DataFrame, quantity: str, colours: list) -> None:
    """One bar of all positions, cut where ranks or probabilities end; an interval at each cut."""
    ends, low, high = cumulative(rows, quantity)
    if not np.isfinite(ends).any():
        return
    cuts = np.concatenate([[0], np.nan_to_num(ends), [1]])
    for (begin, end), colour in zip(pairwise(cuts), colours, strict=True):
        axes.barh(y, 100 * (end - begin), left=100 * begin, color=colour, height=0.74, linewidth=0)
        if end - begin >= LABELLED:
            ink = "white" if sum(colour[:3]) < 1.5 else DARK
            place = {"ha": "center", "va": "center", "fontsize": 6, "color": ink}
            axes.text(50 * (begin + end), y, f"{100 * (end - begin):.0f}", **place)
    axes.hlines(np.full(len(ends), y + 0.41), 100 * low, 100 * high, color=DARK, linewidth=1)


def draw(drawn: pl.DataFrame, spec: HighFigureSpec) -> Figure:
    rows_of_panels = drawn.select("set", "direction").unique(maintain_order=True).rows()
    bars = drawn.select("positions", "pair").unique(maintain_order=True).rows()
    figure, grid = canvas(
        len(rows_of_panels), len(QUANTITIES), height=0.75 + 0.21 * len(bars), sharex=True, sharey=True
    )
    words = {"high_js": f"JS > {spec.high:g}", "all": "all"}
    for number, (problem_set, direction) in enumerate(rows_of_panels):
        for axes, (quantity, title) in zip(grid[number], QUANTITIES.items(), strict=True):
            rows = drawn.filter(set=problem_set, quantity=quantity, direction=direction)
            names = part_names(quantity, rows["level"].unique().sort().to_list())
            colours = sns.color_palette("mako_r", len(names))
            for y, (positions, pair) in enumerate(bars):
                own = rows.filter(positions=positions, pair=pair).sort("level")
                draw_bar(axes, y, own, quantity, colours)
            if number == 0:
                label_parts(axes, names, colours)
            several = drawn["set"].n_unique() > 1
            name = DIRECTIONS[direction] + (f" · {problem_set}" if several else "")
            axes.set_title(name, fontsize=7, pad=24 if number == 0 else 4)
            axes.set(xlabel=f"{title} (% of positions)", xlim=(0, 100), ylim=(len(bars) - 0.4, -0.6))
            axes.set_yticks(range(len(bars)), [f"{words[positions]}: {pair}" for positions, pair in bars])
            axes.grid(visible=False)
            axes.label_outer()
    return figure


def label_parts(axes: Axes, names: list[str], colours: list) -> None:
    """What each colour stands for, above a panel."""
    handles = [Patch(color=colour, label=name) for name, colour in zip(names, colours, strict=True)]
    tight = {"handlelength": 0.8, "columnspacing": 0.8, "handletextpad": 0.3, "borderpad": 0, "fontsize": 6}
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, **tight)


def main() -> None:
    make_figure(__doc__, HighFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
