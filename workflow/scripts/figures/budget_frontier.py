"""Draw what a budget of replaced tokens buys at best: a threshold for each problem against one for all."""

import polars as pl
import seaborn as sns
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.style import arrange, band, facets, legend, make_figure, numbers, style_handle
from tokenshift.figures.sweeps import DIRECTION_LABELS, RULE_LABELS
from tokenshift.registries.criteria import CRITERIA

POLICIES = {"per_problem": "a threshold for each problem", "one_threshold": "one threshold for all"}
EVALUATIONS = {"cross_fitted": "judged on other samples", "naive": "judged on the samples that chose (naive)"}
COLOURS = dict(zip(POLICIES, (sns.color_palette("colorblind")[3], sns.color_palette("colorblind")[0]), strict=True))
LINES = {
    "cross_fitted": {"linestyle": "-", "marker": "o"},
    "naive": {"linestyle": ":", "marker": "o", "markersize": 2.5, "markerfacecolor": "white"},
}


def select(table: pl.DataFrame) -> pl.DataFrame:
    keys = ("pair", "set", "criterion", "direction", "policy", "evaluation", "budget")
    criteria = ["js"] if (table["criterion"] == "js").any() else list(CRITERIA)
    orders = {"direction": DIRECTION_LABELS, "policy": POLICIES, "evaluation": EVALUATIONS}
    return arrange(table, *keys, **orders, criterion=criteria, quantity=["accuracy"])


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    names = DIRECTION_LABELS | RULE_LABELS
    figure, panels = facets(drawn, ["pair", "set", "criterion"], "direction", names, height=2.6, sharey="row")
    for axes, rows in panels:
        for (policy, evaluation), line in rows.group_by("policy", "evaluation", maintain_order=True):
            budget, colour = numbers(line, "budget"), COLOURS[policy]
            if evaluation == "cross_fitted":
                band(axes, budget, line, colour, **LINES[evaluation])
            else:
                axes.plot(budget, numbers(line, "estimate"), color=colour, **LINES[evaluation])
        axes.set(xlabel="budget (replaced tokens per response)", ylabel="accuracy")
    for axes, _ in panels:
        axes.label_outer(remove_inner_ticks=False)
    policies = [style_handle(label, color=COLOURS[policy], marker="o") for policy, label in POLICIES.items()]
    legend(figure, [*policies, *(style_handle(EVALUATIONS[key], **LINES[key]) for key in LINES)])
    return figure


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
