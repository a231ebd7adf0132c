"""Tokens in figures: as labels, and what they carry."""

from functools import cache

import matplotlib
import polars as pl
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font

from tokenshift.figures.style import numbers

VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}
LONGEST = 12  # characters of a token's label


def visible(token: str | None, token_id: int) -> str:
    """The token with its white space made visible; characters that the font lacks as their code points."""
    glyphs = _glyphs(matplotlib.rcParams["font.sans-serif"][0])
    shown = "".join(VISIBLE.get(character, character) for character in token or "")
    shown = "".join(c if ord(c) in glyphs else c.encode("unicode_escape").decode() for c in shown)
    return f"id {token_id}" if not shown else shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


@cache
def _glyphs(font: str) -> frozenset[int]:
    """Code points that a font can draw."""
    return frozenset(get_font(findfont(font)).get_charmap())


def draw_token_shares(axes: Axes, rows: pl.DataFrame, colour: object) -> None:
    """A bar for each token's share of all JS, with a tick where its share of all positions is, both in percent.

    `rows` are those of token_identity.csv for one pair and set; the heaviest token stands on top.
    """
    bars, positions = (rows.filter(quantity=quantity) for quantity in ("share_of_js", "share_of_positions"))
    y = range(len(bars))
    axes.barh(y, 100 * numbers(bars, "estimate"), color=colour, alpha=0.5, height=0.7, linewidth=0, label="of all JS")
    axes.hlines(y, 100 * numbers(bars, "ci_low"), 100 * numbers(bars, "ci_high"), color=colour, linewidth=1.1)
    beside = bars.join(positions.select("token_id", expected="estimate"), on="token_id", how="left")
    tick = {"marker": "|", "markersize": 7, "linestyle": "", "color": "black", "markeredgewidth": 1.2}
    axes.plot(100 * numbers(beside, "expected"), y, label="of all positions", **tick)
    labels = [visible(token, token_id) for token, token_id in bars.select("token", "token_id").iter_rows()]
    axes.set_yticks(y, labels, parse_math=False)
    axes.set(ylim=(len(bars) - 0.4, -0.6), xlim=(0, None))
    axes.grid(axis="y", visible=False)
