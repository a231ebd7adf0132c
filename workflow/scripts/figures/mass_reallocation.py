"""Where probability moved from base to tuned policy: within both nuclei, out of one, or into the other."""

from tokenshift.command import run
from tokenshift.figures import GREY, colours, dots, figure_parser, legend_above, panels, read_table, save, side_by_side

CANDIDATES = {
    "shared": "in both\nnuclei",
    "base_only": "base's\nonly",
    "tuned_only": "tuned\nonly",
    "neither": "in\nneither",
}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    positions = {"all": "all positions", "high_js": f"JS above {args.spec['high']:g} nats"}
    drawn = table[(table["trajectory"] == "tuned") & (table["quantity"] == "change")]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    figure, axes = panels(sets, len(positions), share_y=False)
    for name, row in zip(sets, axes, strict=True):
        for (where, label), axis in zip(positions.items(), row, strict=True):
            groups = list(drawn[(drawn["set"] == name) & (drawn["positions"] == where)].groupby("pair"))
            for offset, (pair, line) in zip(side_by_side(len(groups), 0.4), groups, strict=True):
                places = [list(CANDIDATES).index(kind) + offset for kind in line["candidates"]]
                dots(axis, places, line, colour[pair], pair, scale=100)
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.set_xticks(range(len(CANDIDATES)), CANDIDATES.values())
            axis.set_xlabel(label)
        row[0].set_ylabel("mean change of probability [%]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
