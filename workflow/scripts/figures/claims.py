"""Draw the verdict on every claim and pair, with the estimate and its interval."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import FAINT, MUTED, arrange, make_figure
from tokenshift.registries.claims import CLAIMS, ORDER, statement
from tokenshift.summary import short_number

VERDICTS = {
    "supports": {"facecolor": "#a3cfe8"},
    "contradicts": {"facecolor": "#f3b890"},
    "inconclusive": {"facecolor": "#e8e8e8"},
    "not measured": {"facecolor": "white", "hatch": "////"},
}
SIDES = {"above": ">", "below": "<"}
ROW, COLUMN, LEGEND = 0.32, 1.2, 0.4  # inches
SAID, BOUND, CELLS = 0.42, 2.7, 3.15  # inches from the left: the claim in words, its bound, the first pair's cells


def select(table: pl.DataFrame) -> pl.DataFrame:
    return arrange(table, "claim", claim=ORDER)


def draw_cell(axes: Axes, x: float, y: float, row: dict) -> None:
    """One verdict: its colour, the estimate, and the interval below."""
    look = VERDICTS[row["verdict"]] | {"linewidth": 2, "edgecolor": "white"}
    if row["estimate"] is None:
        look |= {"edgecolor": FAINT, "linewidth": 0}
    inset = 0.015
    axes.add_patch(Rectangle((x + inset, y + inset), COLUMN - 2 * inset, ROW - 2 * inset, **look))
    if row["estimate"] is None:
        return
    centred = {"ha": "center", "va": "center"}
    axes.text(x + COLUMN / 2, y + 0.33 * ROW, short_number(row["estimate"]), weight="bold", **centred)
    if row["ci_low"] is not None:
        interval = f"[{short_number(row['ci_low'])}, {short_number(row['ci_high'])}]"
        axes.text(x + COLUMN / 2, y + 0.73 * ROW, interval, fontsize=6, **centred)


def header_height(rows: pl.DataFrame) -> float:
    """Height of a block's column headings: the pair, what it compares with, and the set where there are several."""
    lines = 1 + rows["pair"].str.contains(" vs ").any() + (rows["set"].n_unique() > 1)
    return 0.14 + 0.13 * lines


def draw_block(axes: Axes, rows: pl.DataFrame, top: float) -> float:
    """Claims (rows) by pairs (columns) below `top`, in inches; returns where the block ends."""
    columns = rows.select("set", "pair").unique(maintain_order=True).sort("set", maintain_order=True).rows()
    several_sets = rows["set"].n_unique() > 1
    y = top + header_height(rows)
    for index, (problem_set, pair) in enumerate(columns):
        heading = pair.replace(" vs ", "\nvs ") + (f"\n{problem_set}" if several_sets else "")
        axes.text(CELLS + COLUMN * (index + 0.5), y - 0.05, heading, ha="center", va="bottom")
    for (claim, said), cells in rows.group_by("claim", "said", maintain_order=True):
        bound = f"{SIDES[cells['side'][0]]} {cells['bound'][0]:g}"
        for x, text, look in ((0.05, claim, {"color": MUTED}), (SAID, said, {}), (BOUND, bound, {"color": MUTED})):
            axes.text(x, y + ROW / 2, text, va="center", **look)
        for row in cells.iter_rows(named=True):
            draw_cell(axes, CELLS + COLUMN * columns.index((row["set"], row["pair"])), y, row)
        y += ROW
    return y


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    said = [statement(claim, quantity) for claim, quantity in drawn.select("claim", "quantity").iter_rows()]
    rows = drawn.with_columns(said=pl.Series(said, dtype=pl.String))
    # Claims on training compare models, all others are of a policy pair: their columns differ.
    training = pl.col("claim").is_in([name for name, claim in CLAIMS.items() if claim.of_training])
    blocks = [block for block in (rows.filter(~training), rows.filter(training)) if len(block)]
    width = CELLS + COLUMN * max(block.select("set", "pair").n_unique() for block in blocks) + 0.05
    height = sum(header_height(block) + ROW * block.select("claim", "said").n_unique() for block in blocks) + LEGEND
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    bottom = 0.0
    for block in blocks:
        bottom = draw_block(axes, block, bottom)
    handles = [Patch(label=verdict, edgecolor=FAINT, linewidth=0.5, **look) for verdict, look in VERDICTS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
