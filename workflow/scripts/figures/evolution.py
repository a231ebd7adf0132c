"""Draw quantiles of JS against the base over the checkpoints of training."""

import polars as pl
import seaborn as sns
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import PairsFigureSpec
from tokenshift.figures.style import arrange, band, direct_labels, facets, ground, make_figure, numbers, pair_looks

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
        axes.margins(x=0.12)  # the labels' place
        axes.set(xlabel="training step", ylabel="quantiles of JS (nats)")
        axes.label_outer()
    ground(panels)
    for axes, rows in panels:
        last = rows.filter(pl.col("step") == pl.col("step").max(), pl.col("estimate").is_not_null())
        direct_labels(axes, {f"{100 * row['quantile']:g} %": (row["step"], row["estimate"]) for row in last.to_dicts()})
    return figure


def main() -> None:
    make_figure(__doc__, PairsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
