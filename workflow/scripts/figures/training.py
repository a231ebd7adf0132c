"""Draw accuracy of every model by seed and over seeds, and its differences to its base and to the baseline."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import DARK, MUTED, arrange, canvas, legend, make_figure, numbers, style_handle

QUANTITIES = {
    "accuracy": "accuracy",
    "accuracy_minus_base": "accuracy minus its base's",
    "accuracy_minus_baseline": "accuracy minus the baseline's",
}
# What the axes reach at most: a little beyond the values that there can be. Student's t knows no such bounds.
POSSIBLE = {"accuracy": (-0.04, 1.04), "accuracy_minus_base": (-1.04, 1.04), "accuracy_minus_baseline": (-1.04, 1.04)}
MARGIN, ROW = 0.8, 0.3  # inches around a panel's models, and of each
MEAN = {"marker": "o", "markersize": 4.5, "color": DARK}
SEED = {"marker": "o", "markersize": 3, "color": MUTED, "markerfacecolor": "white", "linestyle": ""}


def select(table: pl.DataFrame) -> pl.DataFrame:
    # Sets, models and seeds keep the table's order, the study's own.
    return arrange(table, "set", "quantity", set=table["set"].unique(maintain_order=True), quantity=QUANTITIES)


def draw_models(axes: Axes, rows: pl.DataFrame, models: list[str]) -> None:
    """In the row of each model the mean over its seeds with its intervals, and below it, where several, every seed."""
    means = rows.filter(pl.col("seed").is_null())
    several = pl.col("seed").is_not_null().sum().over("model") > 1
    seeds = rows.filter(several, pl.col("seed").is_not_null())
    y_means, y_seeds = ([models.index(model) for model in part["model"]] for part in (means, seeds))
    for interval, width in (("ci", 0.8), ("problems", 2.2)):
        axes.hlines(
            y_means, numbers(means, f"{interval}_low"), numbers(means, f"{interval}_high"), color=DARK, linewidth=width
        )
    axes.plot(numbers(means, "estimate"), y_means, linestyle="", **MEAN)
    axes.plot(numbers(seeds, "estimate"), [y + 0.25 for y in y_seeds], **SEED)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    models, sets, quantities = (
        drawn[key].unique(maintain_order=True).to_list() for key in ("model", "set", "quantity")
    )
    height = MARGIN + ROW * len(models)
    figure, grid = canvas(len(sets), len(quantities), height, sharex="col", sharey=True)
    for axes_row, problem_set in zip(grid, sets, strict=True):
        for axes, quantity in zip(axes_row, quantities, strict=True):
            draw_models(axes, drawn.filter(set=problem_set, quantity=quantity), models)
            axes.set(xlabel=QUANTITIES[quantity], ylim=(len(models) - 0.5, -0.5))
            axes.set_yticks(range(len(models)), models)
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, POSSIBLE[quantity][0]), min(high, POSSIBLE[quantity][1]))
            if quantity != "accuracy":
                axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
            axes.label_outer()
        if len(sets) > 1:
            axes_row[0].set_title(problem_set)
    mean = style_handle("mean over training seeds", **MEAN)
    legend(figure, [mean, style_handle("one seed", **SEED)])
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
