"""How often one policy's most probable token was improbable under the other."""

from tokenshift.command import run
from tokenshift.figures import colours, dots, figure_parser, legend_above, panels, read_table, save, side_by_side

DIRECTIONS = {
    "base_of_tuned_top1": "base probability of tuned top-1",
    "tuned_of_base_top1": "tuned probability of base top-1",
}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    positions = {"all": "all positions", "high_js": f"JS above {args.spec['high']:g} nats"}
    drawn = table[table["trajectory"] == "tuned"]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    bounds = sorted(drawn["probability_below"].unique())
    shown = [(direction, where) for direction in DIRECTIONS for where in positions]
    figure, axes = panels(sets, len(shown), share_y=False, width=0.9)
    for name, row in zip(sets, axes, strict=True):
        for (direction, where), axis in zip(shown, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["direction"] == direction) & (drawn["positions"] == where)]
            groups = list(rows.groupby("pair"))
            for offset, (pair, line) in zip(side_by_side(len(groups), 0.4), groups, strict=True):
                places = [bounds.index(bound) + offset for bound in line["probability_below"]]
                dots(axis, places, line, colour[pair], pair, scale=100)
            axis.set_xticks(range(len(bounds)), [f"< {bound:g}" for bound in bounds])
            axis.set_xlabel(f"{DIRECTIONS[direction]}\n{positions[where]}")
            axis.set_ylim(bottom=0)
        row[0].set_ylabel("positions [%]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
