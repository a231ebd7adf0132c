"""Mean JS along the tuned policy's responses: from their start, from their end, and relative to their length."""

from tokenshift.command import run
from tokenshift.figures import band, colours, figure_parser, legend_above, panels, read_table, save

ORIGINS = {
    "start": "tokens from the start",
    "end": "tokens before the end",
    "relative": "position / response length",
}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    drawn = table[table["trajectory"] == "tuned"]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    figure, axes = panels(sets, len(ORIGINS), width=0.85)
    for name, row in zip(sets, axes, strict=True):
        for (origin, label), axis in zip(ORIGINS.items(), row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["origin"] == origin)]
            for pair, line in rows.groupby("pair"):
                middle = (line["bin_low"] + line["bin_high"]) / 2
                band(axis, middle, line, colour[pair], pair, marker="o", markersize=2.5)
            axis.set_xlabel(label)
            axis.set_ylim(bottom=0)
            if origin == "end":
                axis.invert_xaxis()
        row[0].set_ylabel("mean JS [nats]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
