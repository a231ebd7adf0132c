"""Quantiles of JS against the base over training."""

import seaborn as sns

from tokenshift.command import run
from tokenshift.figures import band, figure_parser, legend_above, panels, read_table, save


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    drawn = table[table["divergence"] == "js"]
    sets, pairs = sorted(drawn["set"].unique()), sorted(drawn["pair"].unique())
    quantiles = sorted(drawn["quantile"].unique(), reverse=True)
    shades = dict(zip(quantiles, sns.color_palette("flare_r", len(quantiles)), strict=True))
    figure, axes = panels(sets, len(pairs))
    for name, row in zip(sets, axes, strict=True):
        for pair, axis in zip(pairs, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["pair"] == pair)]
            for quantile in quantiles:
                line = rows[rows["quantile"] == quantile].sort_values("step")
                band(axis, line["step"], line, shades[quantile], f"{quantile:.0%}", marker="o", markersize=2.5)
            axis.set_xlabel(f"training step of {pair}")
            axis.set_ylim(bottom=0)
        row[0].set_ylabel("quantile of JS [nats]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
