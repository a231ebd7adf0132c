"""The one error that means: the user can mend this, and the message says how."""

import difflib
from collections.abc import Iterable


class StudyError(Exception):
    """Bad input or an impossible request; the message says what is wrong, where, and what to do."""


class NotFinite(StudyError):
    """A model's logits, loss or gradient are NaN or infinite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' with the nearest of `known`, or the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (there is: {', '.join(known)})" if known else " (there is none)"
