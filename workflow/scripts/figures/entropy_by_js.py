"""Draw both policies' entropy in bins of JS: whether changed positions were uncertain."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import EntropyByJsFigureSpec
from tokenshift.figures.style import (
    arrange,
    facets,
    ground,
    legend,
    main_trajectory,
    make_figure,
    ordinal_lines,
    pair_handles,
    pair_looks,
    style_handle,
)

QUANTITIES = ["share_of_positions", "mean_entropy", "share_low_entropy"]
DASHES = {"base": "-", "tuned": "--"}
SLANTED = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    # A bin's share of positions is the same row for either policy.
    once = main_trajectory(table).filter((pl.col("quantity") != "share_of_positions") | (pl.col("policy") == "base"))
    return arrange(once, "quantity", "set", "pair", "policy", "js_low", quantity=QUANTITIES, policy=DASHES)


def draw(drawn: pl.DataFrame, spec: EntropyByJsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    edges = sorted({*drawn["js_low"], *drawn["js_high"]})
    low_entropy = f"share with entropy\nbelow {spec.low_entropy:g} nats"
    labels = dict(zip(QUANTITIES, ("share of positions", "mean entropy (nats)", low_entropy), strict=True))
    names = dict.fromkeys(QUANTITIES, "")
    if drawn["set"].n_unique() == 1:
        names[drawn["set"][0]] = ""
    figure, panels = facets(drawn, ["quantity"], "set", names, height=1.75, sharex=True, sharey="row")
    for axes, rows in panels:
        ordinal_lines(axes, rows, "js_low", "policy", DASHES, looks)
        # A bin's estimates stand halfway between its edges.
        axes.set_xticks([rank - 0.5 for rank in range(len(edges))], [f"{edge:.3g}" for edge in edges], **SLANTED)
        axes.set(xlabel="JS divergence (nats), edges of the bins", ylabel=labels[rows["quantity"][0]])
        axes.label_outer()
    styles = [style_handle(f"entropy under the {policy} policy", linestyle=DASHES[policy]) for policy in DASHES]
    ground(panels)
    legend(figure, [*pair_handles(drawn, looks), *styles])
    return figure


def main() -> None:
    make_figure(__doc__, EntropyByJsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
