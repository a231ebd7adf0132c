"""Draw the verdict on every claim and pair, with the estimate and its interval."""

import polars as pl
from matplotlib.figure import Figure

from tokenshift.command import run
from tokenshift.config.specs import FigureSpec
from tokenshift.figures.claims_grid import claims_grid
from tokenshift.figures.style import arrange, make_figure
from tokenshift.registries.claims import ORDER


def select(table: pl.DataFrame) -> pl.DataFrame:
    return arrange(table, "claim", claim=ORDER)


def draw(drawn: pl.DataFrame, spec: FigureSpec) -> Figure:
    heading = pl.col("pair").str.replace(" vs ", "\nvs ")
    if drawn["set"].n_unique() > 1:
        heading = heading + "\n" + pl.col("set")
    return claims_grid(drawn.with_columns(column=heading).sort("set", maintain_order=True))


def main() -> None:
    make_figure(__doc__, FigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
