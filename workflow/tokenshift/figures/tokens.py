"""Tokens as labels of a figure."""

from functools import cache

import matplotlib
from matplotlib.font_manager import findfont, get_font

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
