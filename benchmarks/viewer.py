"""The token viewer at 960 responses of 5,000 tokens: what its page takes to make, to open and to use.

Writes a made-up pair (30 problems, 16 responses of either policy, both sweeps) to a temporary folder, makes its page as
its rule does, and opens it in Chromium from the file system, five times. Needs what tests/viewer/install.sh installs.
The result goes to benchmarks/viewer.md.

    PYTHONPATH=workflow:tests/viewer python benchmarks/viewer.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import browser
from browser import Page
from made_up import SPEC, MadeUp, write_files

ROOT = Path(__file__).parents[1]
MADE = MadeUp(
    [(f"p-{number}", f"{number} + 1", str(number + 1)) for number in range(30)],
    **{"samples": 16, "swept": 16, "length": 5000, "candidates": 4},
)
LOADS = 5
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
# Scrolls a response from end to end; the longest time between two frames (ms).
SCROLL = """
const done = arguments[0], main = document.querySelector("main");
let last = performance.now(), longest = 0, y = 0;
const step = (now) => {
  longest = Math.max(longest, now - last);
  last = now;
  main.scrollTop = y;
  y += 400;
  if (y < main.scrollHeight) requestAnimationFrame(step);
  else done(longest);
};
requestAnimationFrame(step);
"""


def make_page(folder: Path, files: dict[str, Path]) -> tuple[float, float]:
    """Seconds and peak memory (MB) of the job that makes the page."""
    command = [sys.executable, ROOT / "workflow/scripts/viewer.py", "--spec", json.dumps(SPEC.plain())]
    command += ["--problems", files["problems"], "--vocabulary", files["vocabulary"]]
    command += ["--base", files["rollouts-base"], "--tuned", files["rollouts-tuned"]]
    command += ["--scores", files["scores-base"], files["scores-tuned"]]
    command += ["--cross-samples", files["forward-js"], files["reverse-js"]]
    command += ["--output", folder / "pair-set.html", "--output-chunks", folder / "pair-set"]
    settings = {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    begun = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), env=os.environ | settings, cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("the page could not be made")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def seconds_until(page: Page, act: Callable[[], object], holds: Callable[[], object]) -> float:
    """Seconds from the begin of `act` until the page `holds`."""
    begun = time.perf_counter()
    act()
    page.wait(holds)
    return time.perf_counter() - begun


def use(page: Page) -> dict[str, float]:
    """Open the page at a token, scroll its response, go to another problem, search."""
    measured = {}
    measured["a token shown, by its address (s)"] = seconds_until(
        page,
        lambda: page.open("#problem=p-7&policy=tuned&sample=3&token=4900"),
        lambda: page.chosen() == 4900,
    )
    measured["first paint (s)"] = page.script(PAINT) / 1000
    measured["longest frame while a response is scrolled through (ms)"] = page.driver.execute_async_script(SCROLL)
    measured["another problem's token (s)"] = seconds_until(
        page,
        lambda: page.script("location.hash = '#problem=p-20&policy=base&sample=9&token=2500'"),
        lambda: page.chosen() == 2500,
    )
    page.press("4")
    measured["first search through all responses (s)"] = seconds_until(
        page,
        lambda: page.choose("token to search for", "wait"),
        lambda: page.all(".occurrence"),
    )
    measured["the next search (s)"] = seconds_until(
        page,
        lambda: page.choose("token to search for", "plus"),
        lambda: "plus" in page.text(".occurrence mark"),
    )
    measured["elements in the page"] = page.script("return document.querySelectorAll('*').length")
    measured["memory of the page's process (MB)"] = browser.memory_mb(page.driver)
    return measured


def report(version: str, made: tuple[float, float], size: float, index: float, loads: list[dict[str, float]]) -> str:
    """The result as Markdown."""
    rows = {"the page made (s)": made[0], "peak memory of that job (MB)": made[1]}
    rows |= {"page and chunks (MB)": size, "of it the page (MB)": index}
    rows |= {name: statistics.median(load[name] for load in loads) for name in loads[0]}
    lines = [
        "# The token viewer at 960 responses of 5,000 tokens",
        "",
        f"Made up, with three thresholds of both sweeps; {os.cpu_count()} cores; medians of {LOADS} loads in Chromium",
        f"{version}. Written by `python benchmarks/viewer.py`.",
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {name} | {value:.4g} |" for name, value in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the page, use it, and record the result."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "made").mkdir()
        made = make_page(folder, write_files(MADE, folder / "made"))
        index = (folder / "pair-set.html").stat().st_size / 1e6
        size = index + sum(file.stat().st_size for file in (folder / "pair-set").iterdir()) / 1e6
        driver = browser.start()
        version = driver.capabilities["browserVersion"]
        loads = [use(Page(driver, folder / "pair-set.html")) for _ in range(LOADS)]
        driver.quit()
    result = report(version, made, size, index, loads)
    print(result)
    (ROOT / "benchmarks/viewer.md").write_text(result)


if __name__ == "__main__":
    main()
