"""Draw accuracy against the share of replaced tokens in cross-sampling: which differences cause the gain."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import arrange, facets, legend, make_figure
from tokenshift.figures.sweeps import (
    COMPARED,
    DIRECTION_LABELS,
    RULES,
    by_comparison,
    draw_curves,
    draw_ends,
    rule_handles,
)
from tokenshift.registries.trajectories import DIRECTIONS


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("pair", "set", "direction", "criterion", "quantity", "budget")
    return arrange(table, *keys, direction=DIRECTIONS, criterion=RULES, quantity=["accuracy", "effective_share"])


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    keys = ["pair", "set", "compared"]
    shown = by_comparison(drawn).sort(keys[:2], maintain_order=True)
    figure, panels = facets(shown, keys, "direction", DIRECTION_LABELS | COMPARED, height=2.9, sharey="row")
    for axes, rows in panels:
        draw_curves(axes, rows, "accuracy")
        draw_ends(axes, rows)
        axes.set(xlabel="tokens replaced (% of all tokens)", ylabel="accuracy")
        axes.margins(y=0.13)
    for axes, _ in panels:
        axes.label_outer(remove_inner_ticks=False)
    legend(figure, rule_handles(drawn["criterion"]))
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
