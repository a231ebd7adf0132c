"""What the figures of cross-sampling share: how a switching rule looks, and curves over the effective share."""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tokenshift.figures.style import MUTED, band, numbers
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.criteria import CRITERIA
from tokenshift.registries.trajectories import DIRECTIONS

Line = Callable[[str], dict[str, object]]  # how the curve of a rule is drawn

# How a direction reads above a panel: primary and intervention are those of registries.trajectories.DIRECTIONS.
DIRECTION_LABELS = {
    "forward": "forward: the base, with tokens of the tuned policy",
    "reverse": "reverse: the tuned policy, with tokens of the base",
}
# Every rule that switches, controls last, in the order of legends.
RULES = [*CRITERIA, *CONTROLS]
RULE_LABELS = {name: rule.label for name, rule in (CRITERIA | CONTROLS).items()}
LABEL_PLACES = ((0.99, "right"), (0.01, "left"))  # of the two policies' own accuracies
COMPARED = {"rules": "JS and the other rules", "controls": "JS and the random controls"}

_COLOURS = sns.color_palette("colorblind")
_LIGHTER = sns.color_palette("pastel")
# One hue for each family of rules, its second member lighter; controls grey.
_LOOKS = {
    "js": (_COLOURS[0], "o"),
    "js_nucleus": (_LIGHTER[0], "s"),
    "kl_primary_intervention": (_COLOURS[1], "D"),
    "kl_intervention_primary": (_LIGHTER[1], "d"),
    "entropy_primary": (_COLOURS[2], "^"),
    "entropy_intervention": (_LIGHTER[2], "v"),
    "logp_difference": (_COLOURS[4], "P"),
    "random": ("0.6", "o"),
    "random_effective": ("0.45", "s"),
    "random_position": ("0.6", "^"),
    "random_effective_position": ("0.25", "D"),
}


def rule_line(criterion: str) -> dict[str, object]:
    """Line of a rule, the same in every figure: js strong and on top, controls dashed, with open markers."""
    colour, marker = _LOOKS[criterion]
    line = {"color": colour, "marker": marker, "markersize": 3.2, "linewidth": 1.1, "zorder": 2.5}
    if criterion in CONTROLS:
        return line | {"linestyle": "--", "markerfacecolor": "white", "zorder": 2.2}
    return line | {"linewidth": 1.8, "markersize": 4.2, "zorder": 3} if criterion == "js" else line


def rule_handles(criteria: Iterable[str]) -> list[Line2D]:
    """Legend entries of the rules among `criteria`, in the order of RULES."""
    drawn = set(criteria)
    return [Line2D([], [], label=RULE_LABELS[rule], **rule_line(rule)) for rule in RULES if rule in drawn]


def by_comparison(drawn: pl.DataFrame) -> pl.DataFrame:
    """The rows of `drawn`, for two rows of panels: `compared` is rules or controls, and js is in both.

    One of the two where the other would show js alone.
    """
    parts = {"rules": list(CRITERIA), "controls": ["js", *CONTROLS]}
    others = {name for name, criteria in parts.items() if set(drawn["criterion"]) & (set(criteria) - {"js"})}
    shown = [name for name in parts if name in (others or {"rules"})]
    return pl.concat(
        drawn.filter(pl.col("criterion").is_in(parts[name])).with_columns(compared=pl.lit(name)) for name in shown
    )


def curve(rows: pl.DataFrame, quantity: str) -> pl.DataFrame:
    """The rows of a quantity with the effective share in percent, x, and its interval, x_low to x_high, sorted by x."""
    share = rows.filter(quantity="effective_share").select(
        "budget", x=100 * pl.col("estimate"), x_low=100 * pl.col("ci_low"), x_high=100 * pl.col("ci_high")
    )
    return rows.filter(quantity=quantity).join(share, on="budget").sort("x", "budget")


def draw_curve(axes: Axes, points: pl.DataFrame, line: dict[str, object], bands: bool) -> None:
    """A rule's curve with both intervals of each point; as a band too where `bands` says so."""
    x, y, low, high = (numbers(points, column) for column in ("x", "estimate", "ci_low", "ci_high"))
    bars = {"color": line["color"], "linewidth": 0.7, "alpha": 0.55, "zorder": line["zorder"] - 0.5}
    axes.hlines(y, numbers(points, "x_low"), numbers(points, "x_high"), **bars)
    axes.vlines(x, low, high, **bars)
    if bands:
        colour = line.pop("color")
        band(axes, x, points, colour, **line)
    else:
        axes.plot(x, y, **line)


def draw_curves(axes: Axes, rows: pl.DataFrame, quantity: str, line: Line = rule_line) -> None:
    """The curve of every rule in `rows`; where there are more than two, only js has a band."""
    sweeps = rows.partition_by("criterion", maintain_order=True)
    for sweep in sweeps:
        points = curve(sweep, quantity)
        if np.isfinite(numbers(points, "estimate")).any():
            criterion = sweep["criterion"][0]
            draw_curve(axes, points, line(criterion), bands=len(sweeps) <= 2 or criterion == "js")


def draw_ends(axes: Axes, rows: pl.DataFrame) -> None:
    """The accuracies of primary and intervention alone, as labelled lines with the sweep between them."""
    ends = rows.filter(quantity="accuracy", criterion=rows["criterion"][0]).sort("budget")
    accuracies = numbers(ends, "estimate")[[0, -1]]
    sides = (-1, 1) if accuracies[0] <= accuracies[1] else (1, -1)
    # The sweep leaves the primary's line at the left and reaches the intervention's at the right: label the free ends.
    for policy, accuracy, side, (x, align) in zip(
        DIRECTIONS[ends["direction"][0]], accuracies, sides, LABEL_PLACES, strict=True
    ):
        axes.axhline(accuracy, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        alignment = {"ha": align, "va": "bottom" if side > 0 else "top"}
        axes.annotate(
            f"{policy} alone, {accuracy:.2f}", (x, accuracy), (0, 3 * side), color=MUTED, **place, **alignment
        )
