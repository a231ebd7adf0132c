"""The claims as a grid: a row for each, a column for each pair, in each cell the verdict, estimate and interval."""

import textwrap

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from tokenshift.figures.style import FAINT, MUTED
from tokenshift.registries.claims import CLAIMS, statement
from tokenshift.summary.closing import short_number

VERDICTS = {
    "supports": {"facecolor": "#a3cfe8"},
    "contradicts": {"facecolor": "#f3b890"},
    "inconclusive": {"facecolor": "#e8e8e8"},
    "not tested": {"facecolor": "white", "hatch": "...."},
    "not measured": {"facecolor": "white", "hatch": "////"},
}
SIDES = {"above": ">", "below": "<"}
ROW, COLUMN, LEGEND = 0.32, 1.2, 0.4  # inches
# Inches from the left: the claim in words, its bound, what the paper reports; the last where no paper's value is shown.
SAID, BOUND, PAPER = 0.42, 3.45, 3.95
PAPER_WIDTH, PAPER_CHARACTERS = 1.75, 30


def draw_cell(axes: Axes, x: float, y: float, row: dict) -> None:
    """One verdict: its colour, the estimate, and the interval below."""
    look = VERDICTS[row["verdict"]] | {"linewidth": 2, "edgecolor": "white"}
    if row["estimate"] is None or row["verdict"] == "not tested":
        look |= {"edgecolor": FAINT, "linewidth": 0}
    inset = 0.015
    axes.add_patch(Rectangle((x + inset, y + inset), COLUMN - 2 * inset, ROW - 2 * inset, **look))
    if row["estimate"] is None:
        return
    box = {"ha": "center", "va": "center"}
    if row["verdict"] == "not tested":
        box["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.text(x + COLUMN / 2, y + 0.33 * ROW, short_number(row["estimate"]), weight="bold", **box)
    if row["ci_low"] is not None:
        interval = f"[{short_number(row['ci_low'])}, {short_number(row['ci_high'])}]"
        axes.text(x + COLUMN / 2, y + 0.73 * ROW, interval, fontsize=6, **box)


def header_height(rows: pl.DataFrame) -> float:
    """Height of a block's column headings."""
    return 0.14 + 0.13 * (1 + rows["column"].str.count_matches("\n").max())


def draw_block(axes: Axes, rows: pl.DataFrame, top: float, paper: bool) -> float:
    """Claims (rows) by columns below `top`, in inches; returns where the block ends."""
    columns = rows["column"].unique(maintain_order=True).to_list()
    y, cells_from = top + header_height(rows), _cells_from(paper)
    headings = [(PAPER, "paper", "left")] if paper else []
    headings += [(cells_from + COLUMN * (place + 0.5), column, "center") for place, column in enumerate(columns)]
    for x, heading, side in headings:
        axes.text(x, y - 0.05, heading, ha=side, va="bottom")
    for (claim, said), cells in rows.group_by("claim", "said", maintain_order=True):
        bound = f"{SIDES[cells['side'][0]]} {cells['bound'][0]:g}"
        for x, text, look in ((0.05, claim, {"color": MUTED}), (SAID, said, {}), (BOUND, bound, {"color": MUTED})):
            axes.text(x, y + ROW / 2, text, va="center", **look)
        if paper:
            reported = textwrap.fill(cells["paper_value"][0], PAPER_CHARACTERS)
            axes.text(PAPER, y + ROW / 2, reported, va="center", color=MUTED, fontsize=6)
        for row in cells.iter_rows(named=True):
            draw_cell(axes, cells_from + COLUMN * columns.index(row["column"]), y, row)
        y += ROW
    return y


def claims_grid(rows: pl.DataFrame, paper: bool = False) -> Figure:
    """Figure of `rows` of claims.csv, each with the heading of its `column`; with what the `paper` reports if asked."""
    said = [statement(claim, variant) for claim, variant in rows.select("claim", "variant").iter_rows()]
    rows = rows.with_columns(said=pl.Series(said, dtype=pl.String))
    # Claims on training compare models, all others are of a policy pair: their columns differ.
    training = pl.col("claim").is_in([name for name, claim in CLAIMS.items() if claim.of_training])
    blocks = [block for block in (rows.filter(~training), rows.filter(training)) if len(block)]
    width = _cells_from(paper) + COLUMN * max(block["column"].n_unique() for block in blocks) + 0.05
    height = sum(header_height(block) + ROW * block.select("claim", "said").n_unique() for block in blocks) + LEGEND
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    bottom = 0.0
    for block in blocks:
        bottom = draw_block(axes, block, bottom, paper)
    handles = [Patch(label=verdict, edgecolor=FAINT, linewidth=0.5, **look) for verdict, look in VERDICTS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))
    return figure


def _cells_from(paper: bool) -> float:
    return PAPER + (PAPER_WIDTH if paper else 0.05)
