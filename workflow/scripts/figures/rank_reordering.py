"""Rank in one policy of the other's most probable token, at all positions and at those of high JS."""

from tokenshift.command import run
from tokenshift.figures import colours, dots, figure_parser, legend_above, panels, read_table, save, side_by_side

DIRECTIONS = {
    "base_rank_of_tuned_top1": "k: tuned top-1 in base top-k",
    "tuned_rank_of_base_top1": "k: base top-1 in tuned top-k",
}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    positions = {"all": "all positions", "high_js": f"JS above {args.spec['high']:g} nats"}
    drawn = table[table["trajectory"] == "tuned"]
    sets, colour = sorted(drawn["set"].unique()), colours(drawn["pair"])
    ranks = sorted(drawn["rank_at_most"].unique())
    shown = [(direction, where) for direction in DIRECTIONS for where in positions]
    figure, axes = panels(sets, len(shown), width=0.8)
    for name, row in zip(sets, axes, strict=True):
        for (direction, where), axis in zip(shown, row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["direction"] == direction) & (drawn["positions"] == where)]
            groups = list(rows.groupby("pair"))
            for offset, (pair, line) in zip(side_by_side(len(groups), 0.3), groups, strict=True):
                places = [ranks.index(rank) + offset for rank in line["rank_at_most"]]
                dots(axis, places, line, colour[pair], pair, scale=100, fmt="o-")
            axis.set_xticks(range(len(ranks)), ranks)
            axis.set(xlabel=f"{DIRECTIONS[direction]}\n{positions[where]}", ylim=(0, 102))
        row[0].set_ylabel("positions [%]")
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
