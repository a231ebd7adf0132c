"""Progress of long jobs: a bar on a terminal, a line every few seconds in a log."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm


class _Lines:
    """A stream for tqdm that ends each report with a newline instead of overwriting it."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip("\r\n") + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(items: Iterable | None, name: str | None, unit: str, total: int | None = None) -> tqdm:
    """A tqdm over `items` (or, for None, to be updated by hand): share done, `unit`s a second, time left, under `name`.

    Without a name it reports nothing, and of several processes that work together only the first does.
    """
    quiet = {"disable": True} if name is None or os.environ.get("RANK", "0") != "0" else {}
    form = {"dynamic_ncols": True} if sys.stderr.isatty() else {"file": _Lines(), "mininterval": 10, "ncols": 100}
    return tqdm(items, desc=name, unit=f" {unit}", total=total, **form, **quiet)
