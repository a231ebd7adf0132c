"""The closing words of a run: where its figures are and what became of the claims, as plain text."""

import csv
import textwrap
from collections import Counter
from itertools import groupby, zip_longest
from pathlib import Path

from tokenshift.registries.claims import ORDER, statement

WIDTH = 100
LONGEST_NAME = 22  # characters of a pair's or problem set's name


def short_number(value: float) -> str:
    """Two decimals; fewer where the value is large, two significant digits where it is small."""
    size = abs(value)
    if size < 0.0995:
        return f"{value:.2g}"
    return f"{value:.{2 if size < 10 else 1 if size < 100 else 0}f}"


def summary(results: Path) -> str:
    """What a finished run says: where things are, and the claims where results/tables/claims.csv has been made."""
    places = {
        "figures": f"{results / 'figures'} (PDF, PNG, and CSV of what is drawn)",
        "tables": f"{results / 'tables'}",
        "viewer": f"{results / 'viewer'} (a page of tokens for each pair; opens in a browser)",
        "report": "results/report.zip, made by `make report`",
    }
    lines = [f"{name:<8} {place}" for name, place in places.items()]
    claims = results / "tables" / "claims.csv"
    if claims.is_file():
        with open(claims, newline="") as file:
            lines += ["", *claim_lines(list(csv.DictReader(file)))]
    sparsity = results / "tables" / "sparsity.csv"
    if sparsity.is_file():
        with open(sparsity, newline="") as file:
            lines += truncation_lines(list(csv.DictReader(file)))
    return "\n".join(lines) + "\n"


def truncation_lines(rows: list[dict[str, str]]) -> list[str]:
    """How the share of high positions depends on truncation, from the rows of sparsity.csv.

    Along the tuned policy's responses; empty where they hold none.
    """
    high: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["quantity"] == "share_above" and row["trajectory"] == "tuned" and row["estimate"]:
            high.setdefault((row["pair"], row["set"]), {})[row["divergence"]] = row
    several = len({problem_set for _, problem_set in high}) > 1
    said = [
        f"{pair}{f' on {problem_set}' if several else ''} {float(both['js']['estimate']):.1%} and "
        f"{float(both['js_nucleus']['estimate']):.1%}"
        for (pair, problem_set), both in high.items()
    ]
    if not said:
        return []
    threshold = float(next(iter(high.values()))["js"]["threshold"])
    begin = f"Positions with JS above {threshold:g}, over the whole vocabulary and truncated as sampled: "
    return textwrap.wrap(begin + "; ".join(said), WIDTH, break_on_hyphens=False)


def claim_lines(rows: list[dict[str, str]]) -> list[str]:
    """The claims as aligned lines of at most WIDTH characters: what each says, and beside it what was measured of it.

    `rows` are those of claims.csv, every value as text, empty where there is none.
    """
    if not rows:
        return []
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    rows = sorted(rows, key=lambda row: (ORDER.index(row["claim"]), variants.index(row["variant"])))
    keys = ["pair", "set"] if len({row["set"] for row in rows}) > 1 else ["pair"]
    cells = [[*(clipped(row[key]) for key in keys), measured(row), row["verdict"]] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    beside = iter("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    said_width = WIDTH - len("C15  ") - len("  ") - (sum(widths) + len("  ") * (len(widths) - 1))
    lines = ["Claims of arXiv 2603.22446: estimate [95 % interval over problems] and verdict", ""]
    for (claim, variant), same in groupby(rows, key=lambda row: (row["claim"], row["variant"])):
        same = list(same)
        said = statement(claim, variant)
        left = [line for text in (said, f"paper: {same[0]['paper_value']}") for line in textwrap.wrap(text, said_width)]
        right = [next(beside) for _ in same]
        names = [claim]
        for name, words, values in zip_longest(names, left, right, fillvalue=""):
            lines.append(f"{name:<5}{words:<{said_width}}  {values}".rstrip())
    counts = Counter(row["verdict"] for row in rows)
    lines += ["", ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())]
    undecided = [
        f"{' '.join(filter(None, (row['claim'], row['variant'], row['pair'])))} {row['problems_to_decide']}"
        for row in rows
        if row["problems_to_decide"]
    ]
    if undecided:
        said = f"Problems that would decide what is inconclusive, were the estimate to stay: {'; '.join(undecided)}"
        lines += textwrap.wrap(said, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines


def clipped(name: str) -> str:
    """A name of at most LONGEST_NAME characters."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def measured(row: dict[str, str]) -> str:
    """Estimate and interval of a row, a dash where it was not measured."""
    if not row["estimate"]:
        return "-"
    estimate = short_number(float(row["estimate"]))
    if not row["ci_low"]:
        return estimate
    return f"{estimate} [{short_number(float(row['ci_low']))}, {short_number(float(row['ci_high']))}]"
