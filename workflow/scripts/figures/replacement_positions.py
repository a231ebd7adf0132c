"""Draw where along the response tokens are switched and replaced: JS against the random controls."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import arrange, band, facets, ground, legend, make_figure, numbers
from tokenshift.figures.sweeps import DIRECTION_LABELS, RULES, rule_handles, rule_line
from tokenshift.registries.controls import CONTROLS

LABELS = {"relative": "part of the response (%)", "start": "token, counted from the start"}
QUANTITIES = {"effective_share": "tokens replaced (%)", "switched_share": "tokens switched (%)"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("pair", "set", "direction", "quantity", "origin", "criterion", "bin_low")
    criteria = ["js", *CONTROLS] if (table["criterion"] == "js").any() else RULES
    orders = {"direction": DIRECTION_LABELS, "quantity": QUANTITIES, "origin": LABELS}
    return arrange(table.filter("at_budget"), *keys, **orders, criterion=criteria)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    percent = drawn.with_columns(pl.col("estimate", "ci_low", "ci_high") * 100)
    unnamed = dict.fromkeys([*LABELS, *QUANTITIES], "")
    keys = ["pair", "set", "direction", "quantity"]
    figure, panels = facets(percent, keys, "origin", unnamed | DIRECTION_LABELS, height=2.0, sharex="col", sharey="row")
    for axes, rows in panels:
        origin = rows["origin"][0]
        for (criterion,), profile in rows.group_by("criterion", maintain_order=True):
            low, high = numbers(profile, "bin_low"), numbers(profile, "bin_high")
            centres = 50 * (low + high) if origin == "relative" else (low + high + 1) / 2
            # A control matched along the response would be hidden behind the run that it matches.
            line = rule_line(criterion) | ({"zorder": 3.5, "markersize": 2.6} if criterion in CONTROLS else {})
            band(axes, centres, profile, line.pop("color"), **line)
        axes.set(xlabel=LABELS[origin], ylabel=QUANTITIES[rows["quantity"][0]])
        if origin == "start":
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlim(0.8, 1.25 * rows["bin_high"].max())
        axes.label_outer()
    ground(panels)
    legend(figure, rule_handles(drawn["criterion"]))
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
