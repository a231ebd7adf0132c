"""Entropy of both policies, and share of positions, in bins of JS."""

import pandas as pd

from tokenshift.command import run
from tokenshift.figures import colours, dots, figure_parser, legend_above, panels, read_table, save, side_by_side

PANELS = [
    ("mean_entropy", "base", "base entropy [nats]", 1),
    ("mean_entropy", "tuned", "tuned policy's entropy [nats]", 1),
    ("share_of_positions", "base", "positions in the bin [%]", 100),
]


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    wanted = pd.MultiIndex.from_tuples([(quantity, policy) for quantity, policy, *_ in PANELS])
    keep = pd.MultiIndex.from_frame(table[["quantity", "policy"]]).isin(wanted)
    drawn = table[keep & (table["trajectory"] == "tuned")]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    lows = sorted(drawn["js_low"].unique())
    figure, axes = panels(sets, len(PANELS), share_y=False)
    for name, row in zip(sets, axes, strict=True):
        for (quantity, policy, label, scale), axis in zip(PANELS, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["quantity"] == quantity) & (drawn["policy"] == policy)]
            groups = list(rows.groupby("pair"))
            for offset, (pair, line) in zip(side_by_side(len(groups)), groups, strict=True):
                places = [lows.index(low) + offset for low in line["js_low"]]
                dots(axis, places, line, colour[pair], pair, scale=scale)
            axis.set_xticks(range(len(lows)), [f"{low:g}" for low in lows], rotation=45)
            axis.set(xlabel="JS of at least [nats]", ylabel=label)
            axis.set_ylim(bottom=0)
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
