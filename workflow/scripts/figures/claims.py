"""The verdict on each of the paper's claims, for every pair, with the estimate it rests on."""

import pandas as pd

from tokenshift.command import run
from tokenshift.figures import figure_parser, panels, plt, read_table, save

COLOURS = {"supports": "#8fd1b5", "contradicts": "#f2a98a", "inconclusive": "#e8e4d8", "not measured": "#ffffff"}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    drawn = read_table(args.table)
    columns = list(dict.fromkeys(zip(drawn["pair"], drawn["set"], strict=True)))
    rows = list(dict.fromkeys(zip(drawn["claim"], drawn["quantity"], strict=True)))
    figure, axes = panels(["claims"], 1, width=1.4 + 0.45 * len(columns))
    figure.set_figheight(0.36 * len(rows) + 0.9)
    axis = axes[0][0]
    for row in drawn.itertuples():
        place = (columns.index((row.pair, row.set)), rows.index((row.claim, row.quantity)))
        axis.add_patch(plt.Rectangle(place, 1, 1, facecolor=COLOURS[row.verdict], edgecolor="white", linewidth=1.5))
        axis.annotate(cell_text(row), (place[0] + 0.5, place[1] + 0.5), ha="center", va="center", fontsize="x-small")
    axis.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    one_set = drawn["set"].nunique() == 1
    names = [pair if one_set else f"{pair}, {name}" for pair, name in columns]
    axis.set_xticks([place + 0.5 for place in range(len(columns))], names, rotation=20, ha="left")
    axis.xaxis.tick_top()
    labels = [f"{claim}  {quantity}" for claim, quantity in rows]
    axis.set_yticks([place + 0.5 for place in range(len(rows))], labels, fontsize="x-small")
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    patches = [plt.Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor="0.8") for colour in COLOURS.values()]
    figure.legend(patches, COLOURS.keys(), loc="outside lower center", ncols=len(COLOURS), fontsize="x-small")
    save(figure, drawn, args)


def cell_text(row) -> str:
    """The estimate with its interval, short enough for a cell."""
    if pd.isna(row.estimate):
        return "–"
    interval = "" if pd.isna(row.ci_low) else f" [{row.ci_low:.2g}, {row.ci_high:.2g}]"
    return f"{row.estimate:.3g}{interval}"


if __name__ == "__main__":
    run(main)


def header(pair: str, problem_set: str, several_sets: bool) -> str:
    """Column heading; a comparison of models breaks before what it compares with."""
    return pair.replace(" vs ", "\nvs ") + (f"\n{problem_set}" if several_sets else "")


def draw_cell(axes: Axes, x: float, y: float, row: dict) -> None:
    """One verdict: its colour, the estimate, and the interval below."""
    axes.add_patch(Rectangle((x, y), COLUMN, ROW, edgecolor="white", linewidth=2, **VERDICTS[row["verdict"]]))
    if row["estimate"] is None:
        axes.text(x + COLUMN / 2, y + ROW / 2, "not measured", ha="center", va="center", fontsize=6, color=MUTED)
        return
    interval = (
        "no interval" if row["ci_low"] is None else f"[{short_number(row['ci_low'])}, {short_number(row['ci_high'])}]"
    )
    axes.text(x + COLUMN / 2, y + 0.32 * ROW, short_number(row["estimate"]), ha="center", va="center", weight="bold")
    axes.text(x + COLUMN / 2, y + 0.73 * ROW, interval, ha="center", va="center", fontsize=5.8)


def draw_block(axes: Axes, rows: pl.DataFrame, top: float) -> float:
    """Claims by pairs below `top` (inches); returns where the block ends."""
    columns = rows.select("set", "pair").unique(maintain_order=True).sort("set", maintain_order=True).rows()
    several_sets = rows["set"].n_unique() > 1
    y = top + HEADER
    for index, (problem_set, pair) in enumerate(columns):
        heading = header(pair, problem_set, several_sets)
        axes.text(STATEMENT + BOUND + COLUMN * (index + 0.5), y - 0.06, heading, ha="center", va="bottom")
    for (claim, said), cells in rows.group_by("claim", "statement", maintain_order=True):
        bound, side = cells["bound"][0], SIDES[cells["side"][0]]
        axes.text(0.05, y + ROW / 2, claim, va="center", color=MUTED)
        axes.text(0.42, y + ROW / 2, said, va="center")
        axes.text(STATEMENT + BOUND / 2, y + ROW / 2, f"{side} {bound:g}", ha="center", va="center", color=MUTED)
        for row in cells.iter_rows(named=True):
            draw_cell(axes, STATEMENT + BOUND + COLUMN * columns.index((row["set"], row["pair"])), y, row)
        y += ROW
    return y


def draw(drawn: pl.DataFrame, spec: dict) -> Figure:
    said = [statement(claim, quantity) for claim, quantity in drawn.select("claim", "quantity").iter_rows()]
    rows = drawn.with_columns(statement=pl.Series(said, dtype=pl.String))
    # Claims on training compare models, all others are of a policy pair: their columns differ.
    blocks = [block for block in rows.partition_by(pl.col("claim") == TRAINING, maintain_order=True) if len(block)]
    most_columns = max(block.select("set", "pair").n_unique() for block in blocks)
    width = STATEMENT + BOUND + COLUMN * most_columns + 0.05
    height = sum(HEADER + ROW * block["statement"].n_unique() for block in blocks) + LEGEND
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    bottom = 0.0
    for block in blocks:
        bottom = draw_block(axes, block, bottom)
    handles = [Patch(label=verdict, edgecolor=FAINT, linewidth=0.5, **look) for verdict, look in VERDICTS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))
    return figure


def main() -> None:
    make_figure(__doc__, select, draw)


if __name__ == "__main__":
    run(main)
