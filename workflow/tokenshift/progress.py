"""Progress of long jobs: a bar on a terminal, a line every few seconds in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class _Lines:
    """A stream for tqdm that ends each report with a newline instead of overwriting it."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip("\r\n") + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(items: Iterable[Item], name: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items`, reporting share done, rate in `unit`s a second and time left under `name`."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=name, unit=f" {unit}", total=total, dynamic_ncols=True)
    else:
        yield from tqdm(
            items, desc=name, unit=f" {unit}", total=total, file=_Lines(), mininterval=10, maxinterval=10, ncols=100
        )
