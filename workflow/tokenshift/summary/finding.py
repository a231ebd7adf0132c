"""The first page of a study's report, as reStructuredText: what was found, in words and numbers of its tables."""

import base64
import csv
import re
from collections import Counter
from pathlib import Path

from tokenshift.registries.claims import ORDER, statement
from tokenshift.summary.closing import measured, truncation_lines

ORDINAL = {"supports": "supported", "contradicts": "contradicted"}
LINE = 5000  # characters; docutils refuses lines of 10,000
COLUMNS = ("claim", "pair", "measured", "paper", "verdict")
# The claims that each figure bears on.
CLAIMS_OF = {
    "figure_1": ["C1", "C7", "C11", "C12"],
    "sparsity": ["C1", "C2"],
    "position_profile": ["C3", "C4"],
    "entropy_by_js": ["C5", "C6"],
    "token_identity": ["C7"],
    "top_k_overlap": ["C8"],
    "first_choices": ["C9", "C10"],
    "cross_sampling": ["C11", "C12", "C13"],
    "recovered_gain": ["C11", "C12", "C13"],
    "evolution": ["C14"],
    "training": ["C15"],
}
STAGES = """
::

    problems ─► models ─► rollouts ─► scores ─► cross_samples ─► tables ─► figures
                   └────► vocabularies ─┘              └──────────┴──────► viewer
"""


def finding(results: Path) -> str:
    """Figure 1, the verdict on each claim with its interval, and how sparse the shifts are.

    Empty for a study whose claims have not been judged yet.
    """
    claims, sparsity = (results / "tables" / f"{table}.csv" for table in ("claims", "sparsity"))
    if not claims.is_file():
        return ""
    rows = _rows(claims)
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    rows.sort(key=lambda row: (ORDER.index(row["claim"]), variants.index(row["variant"])))
    parts = [f"**Study {escaped(results.name)}.** {verdicts(rows)}"]
    if sparsity.is_file():
        parts.append(escaped(" ".join(truncation_lines(_rows(sparsity)))))
    parts += [picture(results / "figures" / "figure_1.png"), table(rows)]
    parts.append("In the menu: each figure with its caption, *Tokens* (the viewer), and *Provenance* (the audit).")
    parts.append("The stages, each a file of rules:")
    return "\n\n".join(filter(None, [*parts, STAGES]))


def seen(results: Path) -> dict[str, str]:
    """For each figure of CLAIMS_OF, what its claims came out as, to stand below its caption."""
    claims = results / "tables" / "claims.csv"
    if not claims.is_file():
        return {}
    rows = _rows(claims)
    several_sets = len({row["set"] for row in rows}) > 1
    said: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row["estimate"]:
            pair = f"{row['pair']} on {row['set']}" if several_sets else row["pair"]
            words = f"{pair} {measured(row)}, {row['verdict']}"
            by_statement = said.setdefault(row["claim"], {})
            by_statement.setdefault(statement(row["claim"], row["variant"]), []).append(words)
    below = {}
    for figure, names in CLAIMS_OF.items():
        lines = [
            f"- {name}, {escaped(stated)}: {escaped('; '.join(words))}"
            for name in names
            for stated, words in said.get(name, {}).items()
        ]
        if lines:
            below[figure] = "\n".join(["What is seen, by the claims that it bears on:", "", *lines])
    return below


def verdicts(rows: list[dict[str, str]]) -> str:
    """How many of the claims came out which way, in a sentence."""
    counts = Counter(ORDINAL.get(row["verdict"], row["verdict"]) for row in rows)
    said = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    pairs = len({row["pair"] for row in rows})
    return f"The paper's claims, measured {len(rows)} times on {pairs} pair{'s' * (pairs > 1)}: {said}."


def table(rows: list[dict[str, str]]) -> str:
    """The claims as a table: what each says, on which pair, estimate with interval, the paper's value, the verdict."""
    several_sets = len({row["set"] for row in rows}) > 1
    lines = [".. list-table::", "   :header-rows: 1", ""]
    cells = [COLUMNS]
    for row in rows:
        pair = f"{row['pair']} on {row['set']}" if several_sets else row["pair"]
        said = f"{row['claim']} {statement(row['claim'], row['variant'])}"
        cells.append((said, pair, measured(row) if row["estimate"] else "–", row["paper_value"], row["verdict"]))
    for row in cells:
        for number, cell in enumerate(row):
            lines.append(f"   {'  ' if number else '* '}- {escaped(cell)}")
    return "\n".join(lines)


def picture(file: Path) -> str:
    """A figure within the text itself; empty where it has not been drawn."""
    if not file.is_file():
        return ""
    content = base64.b64encode(file.read_bytes()).decode()
    lines = "\n   ".join(content[begin : begin + LINE] for begin in range(0, len(content), LINE))
    return f".. image:: data:image/png;base64,\n   {lines}\n   :alt: {file.stem.replace('_', ' ')}"


def escaped(text: str) -> str:
    """Text of which reStructuredText makes nothing else."""
    return re.sub(r"([\\*_`|])", r"\\\1", text)


def _rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))
