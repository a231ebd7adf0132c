r"""Where the final answer of a response is: it is the content of the last \boxed{...}."""

import re

# An escaped character is matched, and so skipped, in one piece: an escaped brace opens and closes nothing.
_BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)


def last_box(text: str) -> slice | None:
    r"""Where in `text` the content of its last \boxed{...} stands, or None where there is none.

    The last box is the one that opens last: of nested boxes, the innermost. Where it never closes, there is no answer:
    an earlier box was withdrawn. Escaped braces do not count as braces. The time taken is linear in the length of
    `text`.
    """
    opened: list[tuple[int, bool]] = []  # of each open brace, where its content begins and whether it is a box's
    last_opened, last = -1, None
    for brace in _BRACES.finditer(text):
        if brace.lastgroup in ("box", "open"):
            opened.append((brace.end(), brace.lastgroup == "box"))
            if brace.lastgroup == "box":
                last_opened = brace.end()
        elif brace.lastgroup == "close" and opened:
            start, is_box = opened.pop()
            if is_box and (last is None or start > last.start):
                last = slice(start, brace.start())
    return last if last is not None and last.start == last_opened else None


def last_boxed(text: str) -> str | None:
    """The content of the last box of `text` (see `last_box`) without surrounding whitespace, or None."""
    box = last_box(text)
    return None if box is None else text[box].strip()
