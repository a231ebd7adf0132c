"""Draw quantiles of JS against the base over the checkpoints of training."""

import polars as pl
import seaborn as sns
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import PairsFigureSpec
from tokenshift.figures.style import (
    DARK,
    arrange,
    band,
    facets,
    ground,
    legend,
    make_figure,
    numbers,
    pair_looks,
    style_handle,
)

DIVERGENCES = {"js": "full vocabulary", "js_nucleus": "truncated to the nuclei"}


def select(table: pl.DataFrame) -> pl.DataFrame:
    return arrange(table, "set", "divergence", "pair", "quantile", "step", divergence=DIVERGENCES)


def shades(colour: object, quantiles: list[float]) -> dict[float, tuple[float, float, float]]:
    """Shades of a colour by quantile, darker for higher ones."""
    return dict(zip(quantiles, sns.light_palette(colour, len(quantiles) + 2)[2:], strict=True))


def draw(drawn: pl.DataFrame, spec: PairsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    quantiles = drawn["quantile"].unique().sort().to_list()
    figure, panels = facets(drawn, ["set", "divergence"], "pair", DIVERGENCES, height=2.0, sharex="col", sharey="row")
    for axes, rows in panels:
        shade = shades(looks[rows["pair"][0]].colour, quantiles)
        for (quantile,), line in rows.group_by("quantile", maintain_order=True):
            band(axes, numbers(line, "step"), line, shade[quantile], marker="o", markersize=2.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="training step", ylabel="JS divergence (nats)")
        axes.label_outer()
    greys = shades(DARK, quantiles)
    ground(panels)
    legend(figure, [style_handle(f"{q:g} quantile", color=greys[q], marker="o") for q in quantiles])
    return figure


def main() -> None:
    make_figure(__doc__, PairsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
