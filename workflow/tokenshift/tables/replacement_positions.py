"""Where along a response tokens are switched and replaced in cross-sampling: their share by position."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenshift.artifacts import shards
from tokenshift.config.analysis import Measures
from tokenshift.cross_sampling.positions import bin_of_index, index_edges, over_equal_parts
from tokenshift.registries.controls import CONTROLS
from tokenshift.tables.cells import table_rows
from tokenshift.tables.files import names
from tokenshift.tables.statistics import Resampled, problem_weights, ratio_of_sums
from tokenshift.tables.sweep import Sweep, check_matched, sweep

QUANTITIES = {"switched_share": "switched", "effective_share": "replaced"}
ORIGINS = ("relative", "start")
RESPONSES_AT_ONCE = 128  # bounds memory; changes no result


def marked_positions(marks: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Of lists of booleans the true entries: index of the list and of the entry in it, both (true entries,)."""
    flat = np.flatnonzero(marks.flatten().to_numpy(zero_copy_only=False))
    ends = np.cumsum(pc.list_value_length(marks).to_numpy())
    owner = np.searchsorted(ends, flat, side="right")
    return owner, flat - (ends - np.diff(ends, prepend=0))[owner]


def binned(marked: pl.DataFrame, edges: Sequence[int], bins: int) -> dict[str, pl.DataFrame]:
    """By origin the bin and the weight of each token in `marked` (owner, position, length of its response).

    start: bins between `edges`, each token with weight 1. relative: `bins` equal parts of the response, each token with
    its weights of `over_equal_parts`.
    """
    return {
        "start": marked.with_columns(bin=bin_of_index(pl.col("position"), edges), weight=pl.lit(1)),
        "relative": over_equal_parts(marked.lazy(), bins).collect(),
    }


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    columns = ["problem_id", "threshold", *QUANTITIES.values()]
    for file in shards(path):
        yield from pq.ParquetFile(file).iter_batches(RESPONSES_AT_ONCE, columns=columns)


def position_sums(measured: Sweep, edges: Sequence[int], bins: int) -> dict[tuple[str, str], np.ndarray]:
    """Weights by (origin, column of the file or "tokens"), each (problems, finite thresholds, bins of the origin).

    Only marked tokens are looked at one by one; how many there are in all follows from the lengths.
    """
    lower, upper = np.array(edges[:-1]), np.array(edges[1:])
    shape = (len(measured.problem_ids), len(measured.finite))
    sizes = {"start": len(edges) - 1, "relative": bins}
    kinds = ("tokens", *QUANTITIES.values())
    sums = {(origin, kind): np.zeros((*shape, size)) for origin, size in sizes.items() for kind in kinds}
    problem_of = {problem: index for index, problem in enumerate(measured.problem_ids)}
    step_of = {measured.thresholds[index]: step for step, index in enumerate(measured.finite)}
    for batch in _batches(measured.path):
        kept = pa.array([threshold in step_of for threshold in batch["threshold"].to_pylist()])
        batch = batch.filter(kept)
        problem = np.array([problem_of[name] for name in batch["problem_id"].to_pylist()], dtype=np.int64)
        step = np.array([step_of[threshold] for threshold in batch["threshold"].to_pylist()], dtype=np.int64)
        length = pc.list_value_length(batch["switched"]).to_numpy().astype(np.int64)
        inside = np.clip(length[:, None], lower, upper) - lower
        np.add.at(sums["start", "tokens"], (problem, step), inside)
        np.add.at(sums["relative", "tokens"], (problem, step), length[:, None])
        for kind in QUANTITIES.values():
            owner, position = marked_positions(batch[kind])
            marked = pl.DataFrame({"owner": owner, "position": position, "length": length[owner]})
            for origin, tokens in binned(marked, edges, bins).items():
                of, bin_, weight = (tokens[column].to_numpy() for column in ("owner", "bin", "weight"))
                cell = np.ravel_multi_index((problem[of], step[of], bin_), (*shape, sizes[origin]))
                counted = np.bincount(cell, weight, sums[origin, kind].size)
                sums[origin, kind] += counted.reshape(sums[origin, kind].shape)
    return sums


def step_within(measured: Sweep, matched: Sweep, budget: float) -> int | None:
    """Index of the threshold that the claims judge: of the run that `measured` matches, which may be itself.

    Where none is within the budget, the highest finite one; None where there is none.
    """
    check_matched(matched, measured)
    within = matched.largest_within(budget)
    return min(matched.finite, default=None) if within is None else within


def table(cross_samples: Sequence[Path], budget: float, analysis: Measures) -> pl.DataFrame:
    """Rows of replacement_positions.csv, at every finite threshold; all files share their bins.

    Positions are relative to the response's length, or counted from its start, with bin_high exclusive. at_budget marks
    the threshold that C11 to C13 are judged at, the lowest whose effective share is at most `budget`; of a random
    control, that of the js run it matches.
    """
    bootstrap, bins = analysis.bootstrap, analysis.position_bins
    sweeps = {tuple(names("cross_samples", path).values()): sweep(path, bootstrap) for path in cross_samples}
    longest = max(int(measured.counts["tokens"].max()) for measured in sweeps.values())
    edges, shares = index_edges(longest, bins), [index / bins for index in range(bins + 1)]
    tables = []
    for (*run, criterion), measured in sweeps.items():
        matched = sweeps.get((*run, "js"), measured) if criterion in CONTROLS else measured
        judged = step_within(measured, matched, budget)
        sums = position_sums(measured, edges, bins)
        weights = problem_weights(bootstrap, len(measured.problem_ids))
        for quantity, kind in QUANTITIES.items():
            for origin in ORIGINS:
                keys = [
                    {"budget": index, "threshold": measured.thresholds[index], "at_budget": index == judged}
                    | {"quantity": quantity, "origin": origin, "bin_low": float(low), "bin_high": float(high)}
                    for index in measured.finite
                    for low, high in pairwise(edges if origin == "start" else shares)
                ]
                marked, tokens = (sums[origin, of].reshape(len(weights[0]), -1) for of in (kind, "tokens"))
                units = bins if origin == "relative" else 1
                resampled = Resampled(
                    measured.problem_ids,
                    ratio_of_sums(weights, marked, tokens),
                    (tokens > 0).sum(axis=0),
                    np.round(tokens.sum(axis=0) / units).astype(int),
                )
                tables.append(table_rows(names("cross_samples", measured.path), keys, resampled, bootstrap))
    return pl.concat(tables, how="vertical_relaxed")
