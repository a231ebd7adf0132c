"""Where along a response the shifts are: mean JS by position (arXiv 2603.22446, analysis 1)."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import polars as pl

from tokenshift.config.analysis import Measures
from tokenshift.config.specs import PairModels
from tokenshift.cross_sampling.positions import bin_of_index, index_edges, over_equal_parts
from tokenshift.errors import StudyError
from tokenshift.registries.trajectories import Mixed
from tokenshift.scoring.trajectories import scan_trajectory
from tokenshift.tables.cells import Cell, measure, ratio, table_rows, total
from tokenshift.tables.files import Files, by_names, collect, names, scan_scores, with_lengths


def by_index(scores: pl.LazyFrame, divergence: str, index: pl.Expr, edges: Sequence[int]) -> pl.DataFrame:
    """Sums per problem and bin of the token index `index`, between `edges`: tokens, weight (1 a token), total JS.

    Positions without an index are in bin null.
    """
    bin_ = pl.when(index.is_not_null()).then(bin_of_index(index, edges))
    return _sums(scores.with_columns(bin=bin_, weight=pl.col("tokens")), divergence)


def by_share(scores: pl.LazyFrame, divergence: str, bins: int) -> pl.DataFrame:
    """Sums per problem and equal part of the responses' length: tokens, weight, total JS, of rows `with_lengths`."""
    return _sums(over_equal_parts(scores, bins), divergence)


def _sums(weighted: pl.LazyFrame, divergence: str) -> pl.DataFrame:
    sums = {"weight": pl.col("weight").sum(), "total": total(pl.col(divergence) * pl.col("weight"))}
    return collect(weighted.group_by("problem_id", "bin").agg(pl.col("tokens").sum(), **sums).sort("problem_id", "bin"))


def profile_cell(keys: dict, first: int, last: int) -> Cell:
    """Mean JS in the bins `first` to `last`, of the sums that `by_index` or `by_share` make."""
    return ratio(keys, pl.col("total"), pl.col("weight"), pl.col("bin").is_between(first, last))


def with_answers(scores: pl.LazyFrame, responses: pl.LazyFrame) -> pl.LazyFrame:
    """The positions with the answer_position of their response."""
    response = ["problem_id", "sample"]
    return scores.join(responses.select(*response, "answer_position"), on=response, how="left")


def responses_of(named: dict[str, str], model: str, rollouts: Files, cross_samples: Files) -> pl.LazyFrame:
    """The responses that the scores of this pair, set and trajectory lie along; `model` wrote those not mixed.

    Raises StudyError when they are not among the files.
    """
    trajectory = named["trajectory"]
    if mixed := Mixed.parse(trajectory):
        key, files = (named["pair"], named["set"], mixed.direction, mixed.criterion), cross_samples
    else:
        key, files = (model, named["set"]), rollouts
    if key not in files:
        raise StudyError(f"scores of {'/'.join(named.values())}: no responses of {'/'.join(key)} are given")
    return scan_trajectory(files[key], trajectory)


def table(paths: dict[str, Sequence[Path]], pairs: dict[str, PairModels], analysis: Measures) -> pl.DataFrame:
    """Rows of position_profile.csv; all files share their bins. bin_high is exclusive but for origin relative.

    paths: files by kind: scores, and the rollouts and cross_samples that they lie along. Index 0 of origin answer is
    where a response's final answer begins, what is before it being negative; responses without an answer are not in
    that origin. Raises StudyError when responses are missing.
    """
    scores = paths["scores"]
    rollouts, cross_samples = (by_names(kind, paths[kind]) for kind in ("rollouts", "cross_samples"))
    bins, divergence, bootstrap = analysis.position_bins, analysis.divergence, analysis.bootstrap
    longest = max(collect(scan_scores(path).select(pl.col("position").max() + 1)).item() for path in scores)
    edges, shares = index_edges(longest, bins), [index / bins for index in range(bins + 1)]
    around = [*(-edge for edge in reversed(edges[1:])), *edges]
    tables = []
    for path in scores:
        named = names("scores", path)
        responses = responses_of(
            named, getattr(pairs[named["pair"]], named["trajectory"], None), rollouts, cross_samples
        )
        rows = with_answers(with_lengths(scan_scores(path)), responses)
        position, from_end = pl.col("position"), pl.col("length") - 1 - pl.col("position")
        profiles = {
            "start": (edges, by_index(rows, divergence, position, edges)),
            "end": (edges, by_index(rows, divergence, from_end, edges)),
            "answer": (around, by_index(rows, divergence, position - pl.col("answer_position"), around)),
            "relative": (shares, by_share(rows, divergence, bins)),
        }
        for origin, (of_bins, sums) in profiles.items():
            keys = [
                {"origin": origin, "bin_low": float(low), "bin_high": float(high)} for low, high in pairwise(of_bins)
            ]
            cells = [profile_cell(key, index, index) for index, key in enumerate(keys)]
            tables.append(table_rows(named, keys, measure(sums.lazy(), cells, bootstrap), bootstrap))
    return pl.concat(tables)
