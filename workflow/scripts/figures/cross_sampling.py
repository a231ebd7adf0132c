"""Accuracy against the share of replaced tokens: where JS is high, and at random positions."""

import pandas as pd

from tokenshift.command import run
from tokenshift.figures import GREY, dots, figure_parser, legend_above, panels, read_table, save

DIRECTIONS = {"forward": "base, with tokens of the tuned policy", "reverse": "tuned policy, with tokens of the base"}
CRITERIA = {
    "js": ("#0173b2", "o-", "where JS is above a threshold"),
    "random": ("#de8f05", "s--", "at random positions"),
}


def with_effective_share(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy rows with the effective share of the same run beside them."""
    keys = ["pair", "set", "direction", "criterion", "budget"]
    share = table[table["quantity"] == "effective_share"].set_index(keys)["estimate"].rename("effective_share")
    return table[table["quantity"] == "accuracy"].join(share, on=keys).sort_values([*keys[:4], "budget"])


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    drawn = with_effective_share(read_table(args.table))
    runs = sorted({f"{pair} on {name}" for pair, name in zip(drawn["pair"], drawn["set"], strict=True)})
    shown = [direction for direction in DIRECTIONS if (drawn["direction"] == direction).any()]
    figure, axes = panels(runs, len(shown), share_y=True)
    for run_name, row in zip(runs, axes, strict=True):
        of_run = drawn[drawn["pair"] + " on " + drawn["set"] == run_name]
        for direction, axis in zip(shown, row, strict=True):
            rows = of_run[of_run["direction"] == direction]
            draw_references(axis, rows[rows["criterion"] == "js"], direction)
            for criterion, (colour, style, label) in CRITERIA.items():
                line = rows[(rows["criterion"] == criterion) & rows["threshold"].abs().lt(float("inf"))]
                dots(axis, 100 * line["effective_share"], line, colour, label, scale=100, fmt=style)
            axis.set_xlabel(f"replaced tokens [%]\n{DIRECTIONS[direction]}")
            axis.set_xlim(left=0)
        row[0].set_ylabel("accuracy [%]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


def draw_references(axis, rows: pd.DataFrame, direction: str) -> None:
    """Lines at the accuracies of both policies: nothing replaced, and everything drawn from the other."""
    names = ("base", "tuned") if direction == "forward" else ("tuned", "base")
    for name, threshold in zip(names, (float("inf"), -float("inf")), strict=True):
        for row in rows[rows["threshold"] == threshold].itertuples():
            axis.axhline(100 * row.estimate, color=GREY, linewidth=0.8, linestyle=":")
            axis.axhspan(100 * row.ci_low, 100 * row.ci_high, color=GREY, alpha=0.1, linewidth=0)
            place = (0.99, 100 * row.estimate)
            axis.annotate(
                name, place, xycoords=("axes fraction", "data"), ha="right", va="bottom", color=GREY, fontsize="small"
            )


if __name__ == "__main__":
    run(main)
