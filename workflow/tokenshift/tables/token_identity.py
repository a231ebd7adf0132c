"""Which tokens carry the shifts, and how much of JS a token's identity explains (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.errors import StudyError
from tokenshift.statistics import Bootstrap, Resampled
from tokenshift.statistics import variance_explained as variance_explained_by_groups
from tokenshift.tables.cells import EVERY, Cell, mean, measure, problem_index, table_rows
from tokenshift.tables.files import names, read, read_scores


def variance_explained(scores: pl.DataFrame, divergence: str, bootstrap: Bootstrap) -> Resampled:
    """Share of the variance of JS over positions that the identity of the response token explains (epsilon squared)."""
    js = pl.col(divergence)
    sums = (
        scores.lazy()
        .group_by("problem_id", "token_id")
        .agg(count=pl.len(), total=js.sum(), squares=(js**2).sum())
        .sort("problem_id", "token_id")
        .collect()
    )
    problem_ids, problem = problem_index(sums)
    _, group = np.unique(sums["token_id"].to_numpy(), return_inverse=True)
    per_group = (sums[column].to_numpy().astype(float) for column in ("count", "total", "squares"))
    draws = variance_explained_by_groups(bootstrap.weights(len(problem_ids)), problem, group, *per_group)
    return Resampled(problem_ids, draws[:, None], np.array([len(problem_ids)]), np.array([len(scores)]))


def highest_tokens(scores: pl.DataFrame, analysis: dict) -> list[int]:
    """The analysis.identity_tokens tokens of highest mean JS, highest first, of those that occur often enough.

    The selection is part of no interval: a token chosen for its high mean has that mean by luck in part, which
    analysis.identity_minimum (fewest occurrences) keeps small.
    """
    return (
        scores.lazy()
        .group_by("token_id")
        .agg(count=pl.len(), mean_js=pl.col(analysis["divergence"]).mean())
        .filter(pl.col("count") >= analysis["identity_minimum"])
        .sort("mean_js", "token_id", descending=[True, False])
        .head(analysis["identity_tokens"])
        .collect()["token_id"]
        .to_list()
    )


def token_cells(token_id: int, token: str | None, analysis: dict) -> list[Cell]:
    """Mean JS at the token's positions, share of them with high JS, and their share of all positions."""
    js, here = pl.col(analysis["divergence"]), pl.col("token_id") == token_id
    keys = {"token_id": token_id, "token": token}
    return [
        mean({"quantity": "mean_js"} | keys, js, here),
        mean({"quantity": "share_high"} | keys, js > analysis["high"], here),
        mean({"quantity": "share_of_positions"} | keys, here, EVERY),
    ]


def table(scores: Sequence[Path], vocabularies: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of token_identity.csv: tokens by falling mean JS; token_id is null for variance_explained.

    Raises StudyError when the vocabulary of a scored pair is missing.
    """
    bootstrap = Bootstrap(**analysis["bootstrap"])
    vocabulary_of = {names("vocabularies", path)["pair"]: path for path in vocabularies}
    tables = []
    for path in scores:
        named = names("scores", path)
        if named["pair"] not in vocabulary_of:
            raise StudyError(f"{path}: no vocabulary file of the pair '{named['pair']}' is given")
        vocabulary = read("vocabularies", vocabulary_of[named["pair"]], ["token_id", "token"])
        tokens = dict(vocabulary.iter_rows())
        frame = read_scores(path, ["token_id", analysis["divergence"]])
        explained = variance_explained(frame, analysis["divergence"], bootstrap)
        keys = {"quantity": "variance_explained", "token_id": None, "token": None}
        tables.append(table_rows(named, [keys], explained, bootstrap))
        chosen = highest_tokens(frame, analysis)
        cells = [cell for token_id in chosen for cell in token_cells(token_id, tokens.get(token_id), analysis)]
        if cells:
            tables.append(table_rows(named, (c.keys for c in cells), measure(frame, cells, bootstrap), bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
