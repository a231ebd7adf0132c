"""Share of positions with a JS below each value, full-vocabulary and truncated, for every pair."""

from tokenshift.command import run
from tokenshift.figures import GREY, TRAJECTORIES, band, colours, figure_parser, panels, read_table, save

LINES = {"js": ("-", "full vocabulary"), "js_nucleus": ("--", "truncated to the nucleus")}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    drawn = table[table["quantity"] == "share_below"]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    shown = [trajectory for trajectory in TRAJECTORIES if (drawn["trajectory"] == trajectory).any()]
    figure, axes = panels(sets, len(shown))
    for name, row in zip(sets, axes, strict=True):
        for trajectory, axis in zip(shown, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["trajectory"] == trajectory)]
            for (pair, divergence), line in rows.groupby(["pair", "divergence"]):
                style, meaning = LINES[divergence]
                band(axis, line["threshold"], line, colour[pair], f"{pair}, {meaning}", scale=100, linestyle=style)
            for name_of_mark, value in (("near zero", args.spec["near_zero"]), ("high", args.spec["high"])):
                axis.axvline(value, color=GREY, linewidth=0.8, linestyle=":")
                axis.annotate(name_of_mark, (value, 2), rotation=90, ha="right", fontsize="x-small", color=GREY)
            axis.set(xscale="log", ylim=(0, 101), xlabel=f"JS [nats]\n{TRAJECTORIES[trajectory]}")
        row[0].set_ylabel("positions below [%]")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(colour), fontsize="x-small")
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
