"""The verdict on each of the paper's claims, for every pair, with the estimate it rests on."""

import textwrap

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
    axis.set_xticks([place + 0.5 for place in range(len(columns))], names, fontsize="small")
    axis.xaxis.tick_top()
    labels = [textwrap.fill(f"{claim}  {quantity}", 62) for claim, quantity in rows]
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
