"""Accuracy of every model, seed by seed and over seeds, and what each gains over its base and over the baseline."""

from tokenshift.command import run
from tokenshift.figures import GREY, dots, figure_parser, legend_above, panels, read_table, save

PANELS = {
    "accuracy": "accuracy [%]",
    "accuracy_minus_base": "gain over base [points]",
    "accuracy_minus_baseline": "gain over baseline [points]",
}


def main() -> None:
    args = figure_parser(__doc__).parse_args()
    table = read_table(args.table)
    shown = {quantity: label for quantity, label in PANELS.items() if (table["quantity"] == quantity).any()}
    drawn = table[table["quantity"].isin(shown)]
    sets, models = sorted(drawn["set"].unique()), list(dict.fromkeys(drawn["model"]))
    figure, axes = panels(sets, len(shown), share_y=False)
    for name, row in zip(sets, axes, strict=True):
        for (quantity, label), axis in zip(shown.items(), row, strict=True):
            rows = drawn[(drawn["set"] == name) & (drawn["quantity"] == quantity)]
            single, mean = rows[rows["seed"].notna()], rows[rows["seed"].isna()]
            places = [models.index(model) + 0.18 for model in single["model"]]
            axis.scatter(places, 100 * single["estimate"], s=9, color=GREY, label="one seed")
            dots(axis, [models.index(model) for model in mean["model"]], mean, "#0173b2", "mean over seeds", scale=100)
            if quantity != "accuracy":
                axis.axhline(0, color=GREY, linewidth=0.8)
            axis.set_xticks(range(len(models)), models, rotation=35, ha="right")
            axis.set_ylabel(label)
    legend_above(figure, axes[0][0])
    save(figure, drawn, args)


if __name__ == "__main__":
    run(main)
