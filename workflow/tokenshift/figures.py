"""The house style of all figures: reading a table, panels, estimates with their intervals, and saving.

Every figure is saved as PDF and PNG, without dates so that the same table gives the same bytes, and as the CSV of
exactly what is drawn.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns

from tokenshift.artifacts import atomic_file
from tokenshift.errors import StudyError

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PANEL = (3.3, 2.5)  # width and height of a panel, in inches
GREY = "0.45"
TRAJECTORIES = {"tuned": "along the tuned policy's responses", "base": "along the base's responses"}


def figure_parser(description: str) -> argparse.ArgumentParser:
    """Parser with the arguments that every figure takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=json.loads, required=True, help="JSON with near_zero and high, in nats of JS")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the table to draw")
    parser.add_argument("--output-pdf", type=Path, required=True)
    parser.add_argument("--output-png", type=Path, required=True)
    parser.add_argument("--output-csv", type=Path, required=True, help="the rows that are drawn")
    return parser


def read_table(path: Path) -> pd.DataFrame:
    """The table at `path`, token strings kept as they are. Raises StudyError when it has no rows."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"token": str})
    if table.empty:
        raise StudyError(f"{path} has no rows to draw")
    return table


def panels(
    rows: Sequence[str], columns: int, share_y: bool | str = "row", width: float = 1.0
) -> tuple[Figure, np.ndarray]:
    """A figure with one row of `columns` panels for each problem set in `rows`; axes as (rows, columns)."""
    sns.set_theme(context="paper", style="whitegrid", palette="colorblind", font="DejaVu Sans")
    mpl.rcParams.update({"pdf.fonttype": 42, "axes.edgecolor": "0.3", "grid.color": "0.92", "legend.frameon": False})
    size = (PANEL[0] * columns * width, PANEL[1] * len(rows))
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, sharey=share_y, layout="constrained")
    for name, row in zip(rows, axes, strict=True):
        for axis in row:
            axis.spines[["top", "right"]].set_visible(False)
        if len(rows) > 1:
            row[0].annotate(name, (0, 1.02), xycoords="axes fraction", color=GREY, fontsize="small")
    return figure, axes


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """One colour for each of `names`, the same in every figure that shows the same names."""
    ordered = sorted(set(names))
    return dict(zip(ordered, sns.color_palette("colorblind", len(ordered)), strict=True))


def band(
    axis: Axes, x: pd.Series, rows: pd.DataFrame, colour, label: str | None = None, scale: float = 1.0, **line
) -> None:
    """A line through the estimates of `rows` at `x`, in a band of their intervals, all times `scale`."""
    axis.plot(x, rows["estimate"] * scale, color=colour, label=label, **line)
    axis.fill_between(x, rows["ci_low"] * scale, rows["ci_high"] * scale, color=colour, alpha=0.18, linewidth=0)


def dots(
    axis: Axes, x: Sequence[float], rows: pd.DataFrame, colour, label: str | None = None, scale: float = 1.0, **marks
) -> None:
    """The estimates of `rows` at `x` with their intervals as bars, all times `scale`."""
    errors = np.vstack([rows["estimate"] - rows["ci_low"], rows["ci_high"] - rows["estimate"]]).clip(min=0) * scale
    style = {"fmt": "o", "markersize": 3.5, "elinewidth": 1, "capsize": 0} | marks
    axis.errorbar(x, rows["estimate"] * scale, yerr=errors, color=colour, label=label, **style)


def side_by_side(count: int, width: float = 0.6) -> np.ndarray:
    """Offsets that put `count` marks next to each other around a category, within `width`."""
    return (np.arange(count) - (count - 1) / 2) * width / max(count, 1)


def legend_above(figure: Figure, axis: Axes) -> None:
    """The legend of `axis` in one row above all panels."""
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=min(len(unique), 6))


def save(figure: Figure, drawn: pd.DataFrame, args: argparse.Namespace) -> None:
    """Write `figure` as PDF and PNG, and `drawn` as CSV, to the outputs of `args`."""
    with atomic_file(args.output_pdf) as path:
        figure.savefig(path, metadata={"CreationDate": None, "Producer": None})
    with atomic_file(args.output_png) as path:
        figure.savefig(path, dpi=200, metadata={"Software": None})
    with atomic_file(args.output_csv) as path:
        drawn.to_csv(path, index=False)
    plt.close(figure)
