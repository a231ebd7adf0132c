"""House style of the figures: one look, a colour per pair, every estimate with its interval, the same bytes every time.

A figure's script says which rows of its table it draws (`select`) and how (`draw`); the rest is here.
"""

import argparse
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from tokenshift.artifacts import write_csv
from tokenshift.atomic import atomic_file
from tokenshift.config.specs import Spec
from tokenshift.errors import StudyError
from tokenshift.registries.trajectories import Mixed

TEXT_COLUMNS = ("pair", "set", "trajectory", "model", "token")
TEXT_COLUMNS += ("claim", "variant", "quantity", "paper_value", "verdict")
INTERVALS = ("ci_low", "ci_high", "problems_low", "problems_high", "seeds_low", "seeds_high", "lowest", "highest")
NUMBER_COLUMNS = ("threshold", "estimate", "bound", *INTERVALS)
DARK, MUTED, FAINT = "0.15", "0.4", "0.75"
MARKERS = "osD^vPX<>*"
POLICY_COLOURS = {"base": "#2f7fc1", "tuned": "#d97a08"}  # as in the viewer
LABEL_POINTS = 6.5
TEXT_WIDTH, COLUMN_WIDTH, NARROWEST_PANEL = 6.8, 3.4, 2.2  # inches

Select = Callable[..., pl.DataFrame]  # of the figure's tables
Draw = Callable[[pl.DataFrame, Spec], Figure]
Narrow = Callable[[pl.DataFrame, Spec], pl.DataFrame]


@dataclass(frozen=True)
class Look:
    """Colour and marker of a pair, the same in every figure of a study."""

    colour: tuple[float, float, float]
    marker: str


def make_figure(
    description: str | None,
    spec: type[Spec],
    select: Select,
    draw: Draw,
    narrow: Narrow = lambda selected, _: selected,
) -> None:
    """Command line of a figure's script: read its tables, draw the selected rows, write PDF, PNG and those rows as CSV.

    `spec` is the type of the settings in --spec, which `draw` gets; `narrow` keeps the selected rows that they name.
    Raises StudyError when one is missing, or when
    there is nothing to draw.
    """
    args = _parser(description, spec).parse_args()
    drawn = narrow(select(*map(read_table, args.table)), args.spec)
    if drawn.is_empty():
        named = " and ".join(map(str, args.table))
        raise StudyError(f"{named}: no row of it belongs in this figure; delete it and let Snakemake make it again")
    with matplotlib.style.context(["default", house_style()]):
        figure = draw(drawn, args.spec)
        note_sizes(figure, drawn)
        save(figure, args.output_pdf, args.output_png)
    write_csv(args.output_csv, drawn)


def _parser(description: str | None, spec: type[Spec]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=spec.parse, required=True, metavar="JSON", help=spec.__name__)
    parser.add_argument("--table", type=Path, nargs="+", required=True, metavar="CSV")
    for form in ("pdf", "png", "csv"):
        parser.add_argument(f"--output-{form}", type=Path, required=True, metavar=form.upper())
    return parser


def read_table(path: Path) -> pl.DataFrame:
    """A table of the study. Raises StudyError when it holds no rows, or none with estimate and interval."""
    types = dict.fromkeys(TEXT_COLUMNS, pl.String) | dict.fromkeys(NUMBER_COLUMNS, pl.Float64)
    try:
        header = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        given = {name: dtype for name, dtype in types.items() if name in header}
        table = pl.read_csv(path, schema_overrides=given, infer_schema_length=None)
    except pl.exceptions.NoDataError:
        table = pl.DataFrame()
    if table.is_empty() or not {"estimate", "ci_low", "ci_high"} <= set(table.columns):
        raise StudyError(f"{path} holds no estimates with intervals; delete it and let Snakemake make it again")
    return table


def house_style() -> dict[str, object]:
    """Matplotlib settings of every figure: seaborn's white grid, small type that stays legible at a column's width."""
    return {
        **sns.axes_style("whitegrid"),
        "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib: the same glyphs on every machine
        "font.size": 7.5,
        "axes.labelsize": 7.5,
        "axes.titlesize": 7.5,
        "axes.titlelocation": "left",
        "axes.titlecolor": MUTED,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.7,
        "axes.labelcolor": DARK,
        "text.color": DARK,
        "xtick.color": DARK,
        "ytick.color": DARK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "0.92",
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.4,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,  # TrueType, embedded: text stays text
    }


def save(figure: Figure, pdf: Path, png: Path) -> None:
    """Write both forms without dates or program versions, so that the same figure is the same bytes."""
    with atomic_file(pdf) as temporary:
        figure.savefig(temporary, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    with atomic_file(png) as temporary:
        figure.savefig(temporary, dpi=200, metadata={"Software": None})


def note_sizes(figure: Figure, drawn: pl.DataFrame) -> None:
    """Say below the figure how many problems its estimates rest on, and how many tokens.

    Not below one with a layout of its own, which leaves no room there.
    """
    if figure.get_layout_engine() is None:
        return
    said = []
    for column, words in (("n_problems", "problems"), ("n_tokens", "tokens")):
        if column in drawn.columns:
            sizes = drawn[column].filter(drawn[column] > 0)
            if len(sizes):
                low, high = sizes.min(), sizes.max()
                said.append(f"{high:,} {words}" if low == high else f"{low:,} to {high:,} {words}")
    if said:
        note = f"n = {'; '.join(said)}"
        figure.supxlabel(note, x=0.995, ha="right", fontsize=6, color=MUTED)


def pair_looks(pairs: Iterable[str]) -> dict[str, Look]:
    """Looks by pair, in the order of their sorted names; `pairs` are all of the study, whether drawn or not."""
    names = sorted(set(pairs))
    colours = sns.color_palette("colorblind" if len(names) <= 10 else "husl", len(names))
    markers = (MARKERS[index % len(MARKERS)] for index in range(len(names)))
    return {name: Look(*look) for name, *look in zip(names, colours, markers, strict=True)}


def main_trajectory(table: pl.DataFrame) -> pl.DataFrame:
    """Rows along the tuned policy's responses, or, where those were not scored, along the base's."""
    tuned = table.filter(trajectory="tuned")
    return table.filter(trajectory="base") if tuned.is_empty() else tuned


def trajectory_names(table: pl.DataFrame) -> dict[str, str]:
    """What to call each trajectory of `table`, in order: the tuned policy's, the base's, then cross-samples."""
    words = {"tuned": "responses of the tuned policy", "base": "responses of the base"}
    drawn = table["trajectory"].unique().sort().to_list()
    for name in drawn:
        if mixed := Mixed.parse(name):
            words[name] = f"cross-sampled {mixed.direction} by {mixed.criterion}, step {mixed.step}"
    return {name: of_trajectory for name, of_trajectory in words.items() if name in drawn}


def arrange(table: pl.DataFrame, *keys: str, **orders: Iterable[str]) -> pl.DataFrame:
    """Rows sorted by `keys`; a key in `orders` has that order of values, and rows with other values are left out."""
    kept = table.filter(*(pl.col(key).is_in(list(order)) for key, order in orders.items()))
    by = [pl.col(key).cast(pl.Enum(list(orders[key]))) if key in orders else pl.col(key) for key in keys]
    return kept.sort(by, maintain_order=True)


def canvas(n_rows: int, n_columns: int, height: float, **shared: bool | str) -> tuple[Figure, np.ndarray]:
    """Figure and axes (n_rows, n_columns), panels `height` inches high; `shared` is what they share (sharex, sharey).

    As wide as a column of text or the whole text, wider only where the panels would become too narrow.
    """
    width = COLUMN_WIDTH if n_columns == 1 else max(TEXT_WIDTH, NARROWEST_PANEL * n_columns)
    figure = Figure(figsize=(width, height * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, **shared)
    for axes in grid.flat:
        # A fixed number: the automatic one follows the height, and labels of other widths would not fit the layout.
        axes.locator_params(axis="y", nbins=6)
    return figure, grid


def facets(
    drawn: pl.DataFrame, rows: Sequence[str], columns: str, names: dict[str, str], height: float, **shared: bool | str
) -> tuple[Figure, list[tuple[Axes, pl.DataFrame]]]:
    """A figure with a row of panels per value of the `rows` keys, one per value of the `columns` key, and their parts.

    Above a panel stands what tells it from others, as `names` calls it: row keys of several values, and its column
    (nothing where the name is empty). A panel without data is left blank and out of the list.
    """
    across = drawn[columns].unique(maintain_order=True).to_list()
    down = drawn.select(rows).unique(maintain_order=True)
    telling = [key for key in rows if down[key].n_unique() > 1]
    figure, grid = canvas(len(down), len(across), height, **shared)
    panels = []
    for axes_row, keys in zip(grid, down.iter_rows(named=True), strict=True):
        for axes, column in zip(axes_row, across, strict=True):
            of_panel = drawn.filter(**keys).filter(pl.col(columns) == column)
            if of_panel.is_empty():
                axes.set_axis_off()
                continue
            words = [names.get(word, word) for word in (*(keys[key] for key in telling), column)]
            axes.set_title(panel_title(figure, len(across), words))
            panels.append((axes, of_panel))
    return figure, panels


def panel_title(figure: Figure, n_columns: int, words: Iterable[str]) -> str:
    """What tells a panel from others, on as many lines as its width demands."""
    characters = int(figure.get_figwidth() / n_columns / 0.063)
    return textwrap.fill(" · ".join(word for word in words if word), characters)


def ground(panels: Iterable[tuple[Axes, pl.DataFrame]]) -> None:
    """Let the drawn panels' vertical axes start at 0, with room for a marker there."""
    for axes, _ in panels:
        top = axes.get_ylim()[1]
        axes.set_ylim(-0.02 * top, top)


def numbers(rows: pl.DataFrame, column: str) -> np.ndarray:
    """A column as float64, NaN for null: Matplotlib draws nothing there."""
    return rows[column].cast(pl.Float64).to_numpy()


def band(axes: Axes, x: np.ndarray, rows: pl.DataFrame, colour: object, **line: object) -> None:
    """Estimates of `rows` as a line over `x`, their intervals as a band."""
    axes.fill_between(x, numbers(rows, "ci_low"), numbers(rows, "ci_high"), color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, numbers(rows, "estimate"), color=colour, **line)


def whiskers(axes: Axes, x: np.ndarray, rows: pl.DataFrame, colour: object, **line: object) -> None:
    """Estimates of `rows` as a line or markers over `x`, their intervals as vertical bars.

    Not Matplotlib's errorbar: a percentile interval need not contain the estimate, which that refuses.
    """
    axes.vlines(x, numbers(rows, "ci_low"), numbers(rows, "ci_high"), color=colour, linewidth=0.9, alpha=0.7)
    axes.plot(x, numbers(rows, "estimate"), color=colour, **line)


def ordinal_lines(
    axes: Axes, rows: pl.DataFrame, x: str, key: str, dashes: dict[str, str], looks: dict[str, Look]
) -> None:
    """Per pair and value of `key` a line with whiskers over the rank of `x` among its values, dashed as `dashes` says.

    Pairs stand a little beside one another, so that no whisker hides another; markers of dashed lines are open.
    """
    pairs, values = sorted(rows["pair"].unique()), rows[x].unique().sort()
    for (pair, value), line in rows.group_by("pair", key, maintain_order=True):
        beside = 0.08 * (pairs.index(pair) - (len(pairs) - 1) / 2)
        face = looks[pair].colour if dashes[value] == "-" else "white"
        style = {"linestyle": dashes[value], "marker": looks[pair].marker, "markerfacecolor": face}
        whiskers(axes, values.search_sorted(line[x]).to_numpy() + beside, line, looks[pair].colour, **style)


def direct_labels(axes: Axes, ends: dict[str, tuple[float, float]], colours: Mapping[str, object] = {}) -> None:
    """Each line's name beside its last point, in data coordinates; names that would touch are moved apart, the least.

    In the line's colour where `colours` has it, else in that of text. A thin line leads to a name that was moved.
    """
    low, high = axes.get_ylim()
    point = axes.figure.dpi / 72 / axes.bbox.height * (high - low)
    line = 1.2 * LABEL_POINTS * point
    names = sorted(ends, key=lambda name: ends[name][1])
    stacked = line * np.arange(len(names))
    # The nearest heights that are a line apart each; then none on the panel's lower edge or above the upper one.
    heights = isotonic_regression([ends[name][1] for name in names] - stacked).x + stacked
    heights = np.minimum(np.maximum(heights, low + line / 2 + stacked), high - stacked[::-1])
    for name, height in zip(names, heights, strict=True):
        moved = (height - ends[name][1]) / point
        place = {"textcoords": "offset points", "va": "center", "fontsize": LABEL_POINTS, "annotation_clip": False}
        if abs(moved) > 1:
            place["arrowprops"] = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
            place["arrowprops"] |= {"relpos": (0, 0.5)}  # from the middle of the name's left edge
        axes.annotate(name, ends[name], (9, moved), color=colours.get(name, DARK), **place)


def panel_pairs(
    drawn: pl.DataFrame, rows: str, columns: str, height: float, ratios: tuple[float, float]
) -> tuple[Figure, list[tuple[tuple[Axes, Axes], pl.DataFrame]]]:
    """A figure with two panels of one row axis, `ratios` of a width each, per value of `rows` and `columns`."""
    down, across = (drawn[key].unique().sort().to_list() for key in (rows, columns))
    width = max(TEXT_WIDTH if len(across) > 1 else COLUMN_WIDTH, NARROWEST_PANEL * len(across))
    figure = Figure(figsize=(width, height * len(down)), layout="constrained")
    grid = figure.subplots(len(down), 2 * len(across), squeeze=False, width_ratios=ratios * len(across))
    panels = []
    for axes_row, row in zip(grid, down, strict=True):
        for number, column in enumerate(across):
            of_panel = drawn.filter(pl.col(rows) == row, pl.col(columns) == column)
            panels.append(((axes_row[2 * number], axes_row[2 * number + 1]), of_panel))
    return figure, panels


def pair_handles(drawn: pl.DataFrame, looks: dict[str, Look]) -> list[Line2D]:
    """Legend entries of the pairs in `drawn`."""
    pairs = sorted(drawn["pair"].unique())
    return [Line2D([], [], color=looks[pair].colour, marker=looks[pair].marker, label=pair) for pair in pairs]


def style_handle(label: str, **line: object) -> Line2D:
    """Legend entry of what a line style or marker means, whatever the pair; grey unless `line` has a colour."""
    return Line2D([], [], label=label, **({"color": MUTED} | line))


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """The figure's one legend, above its panels, in as many columns as fit."""
    widths = [0.5 + 0.06 * len(handle.get_label()) for handle in handles]  # inches, about
    fitting = (
        number
        for number in range(len(handles), 1, -1)
        if sum(max(column) for column in np.array_split(widths, number)) <= figure.get_figwidth()
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=next(fitting, 1))
