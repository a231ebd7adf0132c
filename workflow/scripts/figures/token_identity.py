"""The tokens with the highest mean JS in each pair, and how much of the variance of JS identity explains."""

import pandas as pd

from tokenshift.command import run
from tokenshift.figures import GREY, colours, figure_parser, panels, read_table, save


def shown(token: str) -> str:
    """`token` with its white space made visible."""
    return repr(token.replace("Ġ", "␣").replace("▁", "␣").replace("Ċ", "⏎").replace(" ", "␣"))[1:-1]


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    drawn = table[table["quantity"].isin(["mean_js", "variance_explained"]) & (table["trajectory"] == "tuned")]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    figure, axes = panels(sets, len(colour), share_y=False, width=0.8)
    for name, row in zip(sets, axes, strict=True):
        for pair, axis in zip(colour, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["pair"] == pair)]
            bars = rows[rows["quantity"] == "mean_js"].sort_values("estimate", ascending=False).head(12)
            errors = [bars["estimate"] - bars["ci_low"], bars["ci_high"] - bars["estimate"]]
            places = range(len(bars))
            axis.barh(places, bars["estimate"], xerr=errors, color=colour[pair], error_kw={"elinewidth": 0.8})
            axis.set_yticks(places, [shown(token) for token in bars["token"]], family="monospace")
            axis.invert_yaxis()
            axis.grid(axis="y", visible=False)
            axis.set_xlabel(f"mean JS by token, {pair} [nats]")
            annotate_variance(axis, rows[rows["quantity"] == "variance_explained"])
    save(figure, drawn, args)


def annotate_variance(axis, rows: pd.DataFrame) -> None:
    """Write the share of the variance that identity explains into the corner of `axis`."""
    for row in rows.dropna(subset="estimate").itertuples():
        text = f"identity explains {row.estimate:.0%}\nof the variance [{row.ci_low:.0%}, {row.ci_high:.0%}]"
        axis.annotate(text, (0.97, 0.05), xycoords="axes fraction", ha="right", fontsize="x-small", color=GREY)


if __name__ == "__main__":
    run(main)
