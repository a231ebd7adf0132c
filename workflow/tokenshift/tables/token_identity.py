"""Which tokens carry the shifts, and how much of JS a token's identity explains (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.analysis import Bootstrap, Measures
from tokenshift.errors import StudyError
from tokenshift.tables.cells import Cell, measure, problem_index, ratio, table_rows, total
from tokenshift.tables.files import collect, names, scan, scan_scores
from tokenshift.tables.statistics import Resampled, problem_weights
from tokenshift.tables.statistics import variance_explained as variance_explained_by_groups
from tokenshift.tables.token_texts import token_texts


def token_sums(scores: pl.LazyFrame, analysis: Measures) -> pl.DataFrame:
    """A row per problem and response token: tokens (its occurrences), total and squares of their JS, how many are high.

    All that the table needs, in one pass.
    """
    js = pl.col(analysis.divergence)
    sums = {"total": total(js), "squares": total(js**2), "high": (js > analysis.high).sum()}
    tokens = scores.group_by("problem_id", "token_id").agg(pl.col("tokens").sum(), **sums)
    return collect(tokens.sort("problem_id", "token_id"))


def variance_explained(sums: pl.DataFrame, bootstrap: Bootstrap) -> Resampled:
    """Share of the variance of JS over positions that the identity of the response token explains (epsilon squared)."""
    problem_ids, problem = problem_index(sums)
    _, group = np.unique(sums["token_id"].to_numpy(), return_inverse=True)
    per_group = (sums[column].to_numpy().astype(float) for column in ("tokens", "total", "squares"))
    draws = variance_explained_by_groups(problem_weights(bootstrap, len(problem_ids)), problem, group, *per_group)
    return Resampled(problem_ids, draws[:, None], np.array([len(problem_ids)]), np.array([sums["tokens"].sum()]))


def heaviest_tokens(sums: pl.DataFrame, analysis: Measures) -> list[int]:
    """The analysis.identity_tokens tokens that carry most of all JS, heaviest first, of those that occur often enough.

    The selection is part of no interval: a token chosen for its JS has that by luck in part, which
    analysis.identity_minimum (fewest occurrences) keeps small.
    """
    frequent = sums.group_by("token_id", maintain_order=True).agg(pl.col("tokens", "total").sum())
    frequent = frequent.filter(pl.col("tokens") >= analysis.identity_minimum)
    by_total = frequent.sort("total", "token_id", descending=[True, False])
    return by_total["token_id"].head(analysis.identity_tokens).to_list()


def token_cells(token_id: int, token: str | None) -> list[Cell]:
    """Of `token_sums`: the token's share of all JS and of all positions; mean JS and share of high JS at its own."""
    tokens, here = pl.col("tokens"), pl.col("token_id") == token_id
    keys = {"token_id": token_id, "token": token}
    return [
        ratio({"quantity": "share_of_js"} | keys, pl.col("total") * here, pl.col("total")),
        ratio({"quantity": "mean_js"} | keys, pl.col("total"), tokens, here),
        ratio({"quantity": "share_high"} | keys, pl.col("high"), tokens, here),
        ratio({"quantity": "share_of_positions"} | keys, tokens * here, tokens),
    ]


def tokens_as_text(vocabulary: Path) -> dict[int, str | None]:
    """The text of each token by its id; bytes that are part of a character in hexadecimal; None for an unused id."""
    known = collect(scan("vocabularies", vocabulary).select("token_id", "token_base").sort("token_id"))
    texts = token_texts(known["token_base"].to_list())
    written = (f"⟨{bytes(text).hex(' ').upper()}⟩" if isinstance(text, list) else text for text in texts)
    return dict(zip(known["token_id"], written, strict=True))


def table(scores: Sequence[Path], vocabularies: Sequence[Path], analysis: Measures) -> pl.DataFrame:
    """Rows of token_identity.csv: tokens by falling share of all JS; token_id is null for variance_explained.

    Raises StudyError when the vocabulary of a scored pair is missing.
    """
    bootstrap = analysis.bootstrap
    vocabulary_of = {names("vocabularies", path)["pair"]: path for path in vocabularies}
    tables = []
    for path in scores:
        named = names("scores", path)
        if named["pair"] not in vocabulary_of:
            raise StudyError(f"{path}: no vocabulary file of the pair '{named['pair']}' is given")
        tokens = tokens_as_text(vocabulary_of[named["pair"]])
        sums = token_sums(scan_scores(path), analysis)
        explained = variance_explained(sums, bootstrap)
        keys = {"quantity": "variance_explained", "token_id": None, "token": None}
        tables.append(table_rows(named, [keys], explained, bootstrap))
        chosen = heaviest_tokens(sums, analysis)
        cells = [cell for token_id in chosen for cell in token_cells(token_id, tokens.get(token_id))]
        if cells:
            tables.append(table_rows(named, (c.keys for c in cells), measure(sums.lazy(), cells, bootstrap), bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
