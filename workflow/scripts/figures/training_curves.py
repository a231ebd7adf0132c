"""Draw what every RL run reported over training: a line per model, the mean over its seeds, with their range."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import Look, arrange, canvas, legend, make_figure, numbers, pair_looks, style_handle

METRICS = {
    "heldout_accuracy": "held-out accuracy",
    "accuracy": "accuracy of the rollouts",
    "reward": "reward",
    "response_length": "response length (tokens)",
    "entropy": "entropy (nats)",
    "kl_base": "KL to the base (nats)",
    "kl_old": "KL to the old policy (nats)",
    "clip_high": "share clipped above",
    "clip_low": "share clipped below",
    "weighted_share": "share of tokens weighted",
    "filtered_groups": "share of groups filtered",
    "gradient_norm": "norm of the gradient",
}
COLUMNS = 3
MARKED = 12  # points of a line, up to which each is marked


def select(table: pl.DataFrame) -> pl.DataFrame:
    # Models keep the table's order, the study's own.
    models = table["model"].unique(maintain_order=True)
    return arrange(table, "metric", "model", "step", metric=METRICS, model=models)


def draw_metric(axes: Axes, rows: pl.DataFrame, looks: dict[str, Look]) -> None:
    """Of each model the mean over seeds and, as a band, the range of the seeds."""
    for (model,), line in rows.group_by("model", maintain_order=True):
        steps, look = numbers(line, "step"), looks[model]
        marker = look.marker if len(line) <= MARKED else ""
        low, high = numbers(line, "lowest"), numbers(line, "highest")
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.18, linewidth=0)
        axes.plot(steps, numbers(line, "estimate"), color=look.colour, marker=marker, markersize=3, linewidth=1)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    metrics = drawn["metric"].unique(maintain_order=True).to_list()
    looks = pair_looks(drawn["model"])
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, grid = canvas(rows, columns, height=1.5, sharex=True)
    for axes, metric in zip(grid.flat, metrics, strict=False):
        draw_metric(axes, drawn.filter(metric=metric), looks)
        axes.set_title(METRICS[metric])
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for column in range(columns):
        below = grid[(len(metrics) - 1 - column) // columns, column]
        below.set_xlabel("training step")
        below.tick_params(labelbottom=True)
    models = drawn["model"].unique(maintain_order=True)
    legend(figure, [style_handle(model, color=looks[model].colour, marker=looks[model].marker) for model in models])
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
