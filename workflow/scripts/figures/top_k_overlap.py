"""Overlap of the two policies' top-k candidates, at all positions and at those of high JS."""

from tokenshift.command import run
from tokenshift.figures import colours, dots, figure_parser, legend_above, panels, read_table, save, side_by_side


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    positions = {"all": "all positions", "high_js": f"JS above {args.spec['high']:g} nats"}
    drawn = table[table["trajectory"] == "tuned"]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    sizes = sorted(drawn["k"].unique())
    figure, axes = panels(sets, len(positions))
    for name, row in zip(sets, axes, strict=True):
        for (where, label), axis in zip(positions.items(), row, strict=True):
            groups = list(drawn[(drawn["set"] == name) & (drawn["positions"] == where)].groupby("pair"))
            for offset, (pair, line) in zip(side_by_side(len(groups), 0.3), groups, strict=True):
                places = [sizes.index(k) + offset for k in line["k"]]
                dots(axis, places, line, colour[pair], pair, scale=100, fmt="o-")
            axis.set_xticks(range(len(sizes)), sizes)
            axis.set(xlabel=f"k, {label}", ylim=(0, 102))
        row[0].set_ylabel("mean top-k overlap [%]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
