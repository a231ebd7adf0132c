"""The page with its data in it, or with a chunk for each problem beside it."""

import html
from collections.abc import Iterable
from pathlib import Path

TEMPLATE = Path(__file__).with_name("page.html")  # built from viewer/; with its content security policy
PLACE = "<!-- data -->"
TITLE = "<title>tokenshift</title>"
LARGEST = 40_000_000  # characters of data in a page that holds all of them


def block(name: str, data: str) -> str:
    """Data in a page: text in base64, which can end no element and is never run."""
    return f'<script type="text/plain" id="{name}">{data}</script>\n'


def chunk(name: str, data: str) -> str:
    """Data in a file of its own: a script, since a page from the file system may read nothing else."""
    return f'tokenshiftChunk("{name}","{data}")\n'


def write_page(page: Path, folder: Path, title: str, blocks: Iterable[tuple[str, str]]) -> None:
    """Write the page, and what it need not hold into files in `folder` once `blocks`, by name, exceed LARGEST.

    The first block is always in the page. Nothing is held in memory but what the page holds.
    """
    kept: list[tuple[str, str]] = []
    size, beside = 0, False
    for name, data in blocks:
        size += len(data)
        if size > LARGEST and kept and not beside:
            beside = True
            for earlier in kept[1:]:
                _write(folder, *earlier)
            del kept[1:]
        if beside:
            _write(folder, name, data)
        else:
            kept.append((name, data))
    before, after = TEMPLATE.read_text(encoding="utf-8").split(PLACE)
    before = before.replace(TITLE, f"<title>{html.escape(title)}</title>")
    with page.open("w", encoding="utf-8") as file:
        file.write(before)
        file.writelines(block(name, data) for name, data in kept)
        file.write(after)


def _write(folder: Path, name: str, data: str) -> None:
    (folder / f"{name}.js").write_text(chunk(name, data), encoding="ascii")
