"""Where probability moved: mass on shared, base-only and tuned-only candidates (arXiv 2603.22446, analysis 3).

The candidates of a policy are its nucleus. The four masses of a policy sum to 1. Where the tokenizers of a pair differ
in special tokens, these are of the tokens that both have; "unshared" is the probability that a policy gives to the
others.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.tables.cells import mean, position_subsets, score_table

NUCLEI = ["shared", "base_only", "tuned_only"]


def mass(policy: str, candidates: str) -> pl.Expr:
    """Probability that `policy` gives to the tokens of one kind; "neither": those in no nucleus."""
    if candidates == "neither":
        return 1 - pl.sum_horizontal(mass(policy, nucleus) for nucleus in NUCLEI)
    return pl.col(f"mass_{policy}_{candidates}")


def table(scores: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of mass_reallocation.csv; change is the tuned policy's mass minus the base's."""
    cells = []
    for positions, where in position_subsets(analysis).items():
        for candidates in (*NUCLEI, "neither", "unshared"):
            base, tuned = mass("base", candidates), mass("tuned", candidates)
            for quantity, value in (("mass_base", base), ("mass_tuned", tuned), ("change", tuned - base)):
                keys = {"positions": positions, "candidates": candidates, "quantity": quantity}
                cells.append(mean(keys, value, where))
    return score_table(scores, cells, analysis)
