"""Draw mean JS by token: which tokens carry the shifts, and how much of JS identity explains."""

import matplotlib
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from tokenshift.command import run
from tokenshift.config.specs import PairsFigureSpec
from tokenshift.figures.style import DARK, MUTED, arrange, canvas, main_trajectory, make_figure, numbers, pair_looks

QUANTITIES = ["variance_explained", "mean_js", "share_of_positions"]
VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}
LONGEST = 12  # characters of a token's label
MARGIN, ROW = 1.1, 0.155  # inches around a panel's bars, and of each


def select(table: pl.DataFrame) -> pl.DataFrame:
    return arrange(main_trajectory(table), "set", "pair", "quantity", quantity=QUANTITIES)


def visible(token: str | None, token_id: int, glyphs: set[int]) -> str:
    """The token with its white space made visible; characters without a glyph as their code points."""
    if not token:
        return f"id {token_id}"
    shown = (VISIBLE.get(character, character) for character in token)
    text = "".join(c if c.isprintable() and ord(c) in glyphs else f"\\u{ord(c):04x}" for c in shown)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def draw_tokens(axes: Axes, rows: pl.DataFrame, colour: object, glyphs: set[int]) -> None:
    """Bars of mean JS, highest on top, each with its interval; at the right each token's share of positions."""
    bars = rows.filter(quantity="mean_js")
    shares = rows.filter(quantity="share_of_positions").select("token_id", share="estimate")
    bars = bars.join(shares, on="token_id", how="left", maintain_order="left")
    y = range(len(bars))
    axes.barh(y, numbers(bars, "estimate"), color=colour, alpha=0.7, height=0.72, linewidth=0)
    axes.hlines(y, numbers(bars, "ci_low"), numbers(bars, "ci_high"), color=DARK, linewidth=0.9)
    labels = [visible(token, token_id, glyphs) for token, token_id in bars.select("token", "token_id").iter_rows()]
    axes.set_yticks(y, labels, parse_math=False)
    beside = {"xycoords": axes.get_yaxis_transform(), "va": "center", "color": MUTED, "fontsize": 6}
    for row, share in enumerate(bars["share"]):
        if share is not None:
            axes.annotate(f"{100 * share:.2g} %", (1.01, row), annotation_clip=False, **beside)


def explained(rows: pl.DataFrame) -> str:
    """What identity explains of the variance of JS, in words; empty where it was not measured."""
    measured = rows.filter(pl.col("estimate").is_not_null(), quantity="variance_explained")
    if measured.is_empty():
        return ""
    estimate, low, high = measured.select("estimate", "ci_low", "ci_high").row(0)
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    return f"variance explained:\n{estimate:.2f}{interval}"


def draw(drawn: pl.DataFrame, spec: PairsFigureSpec) -> Figure:
    looks = pair_looks(spec.pairs)
    glyphs = set(get_font(findfont(matplotlib.rcParams["font.sans-serif"][0])).get_charmap())
    sets, pairs = (drawn[key].unique().sort().to_list() for key in ("set", "pair"))
    most = max(len(part) for part in drawn.filter(quantity="mean_js").partition_by("set", "pair") or [[None]])
    figure, grid = canvas(len(sets), len(pairs), height=MARGIN + ROW * most, sharex="row")
    for axes_row, problem_set in zip(grid, sets, strict=True):
        for axes, pair in zip(axes_row, pairs, strict=True):
            rows = drawn.filter(set=problem_set, pair=pair)
            draw_tokens(axes, rows, looks[pair].colour, glyphs)
            name = pair if len(sets) == 1 else f"{problem_set} · {pair}"
            axes.set_title(f"{name}\n{explained(rows)}", fontsize=6.5)
            axes.set(xlabel="mean JS (nats)", ylim=(most - 0.4, -0.6))
            axes.grid(axis="y", visible=False)
        axes.set_xlim(0, axes.get_xlim()[1])
    return figure


def main() -> None:
    make_figure(__doc__, PairsFigureSpec, select, draw)


if __name__ == "__main__":
    run(main)
