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
from tokenshift.tables.cells import table_rows
from tokenshift.tables.files import names
from tokenshift.tables.position_profile import index_edges
from tokenshift.tables.statistics import Bootstrap, Resampled, ratio_of_sums
from tokenshift.tables.sweep import CONTROLS, Sweep, check_matched, sweep

QUANTITIES = {"switched_share": "switched", "effective_share": "replaced"}
ORIGINS = ("relative", "start")
RESPONSES_AT_ONCE = 128  # bounds memory; changes no result


def marked_positions(marks: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Of lists of booleans the true entries: index of the list and of the entry in it, both (true entries,)."""
    flat = np.flatnonzero(marks.flatten().to_numpy(zero_copy_only=False))
    ends = np.cumsum(pc.list_value_length(marks).to_numpy())
    owner = np.searchsorted(ends, flat, side="right")
    return owner, flat - (ends - np.diff(ends, prepend=0))[owner]


def by_index(owner: np.ndarray, position: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, ...]:
    """Entries between the integer `edges`: owner, bin and weight (1), each (entries,)."""
    return owner, np.searchsorted(edges, position, side="right") - 1, np.ones(len(owner), dtype=np.int64)


def by_share(owner: np.ndarray, position: np.ndarray, length: np.ndarray, bins: int) -> tuple[np.ndarray, ...]:
    """Entries in equal parts of their response, as tables.position_profile.by_share divides it: owner, bin, weight.

    length: of each entry's response. Token t covers [t / L, (t + 1) / L] and enters each part by what of it lies
    inside, in units of 1 / bins of a token, so that its weights sum to `bins`.
    """
    first, last = bins * position, bins * (position + 1)  # edges of the token, of `bins` times L
    parts = (last - 1) // length - first // length + 1
    owner, first, last, length = (np.repeat(values, parts) for values in (owner, first, last, length))
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    part = first // length + nth
    return owner, part, np.minimum(last, (part + 1) * length) - np.maximum(first, part * length)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    columns = ["problem_id", "threshold", *QUANTITIES.values()]
    for file in shards(path):
        yield from pq.ParquetFile(file).iter_batches(RESPONSES_AT_ONCE, columns=columns)


def position_sums(measured: Sweep, edges: Sequence[int], bins: int) -> dict[tuple[str, str], np.ndarray]:
    """Weights by (origin, column of the file or "tokens"), each (problems, finite thresholds, bins of the origin).

    Only marked tokens are looked at one by one; how many there are in all follows from the lengths.
    """
    edges = np.asarray(edges)
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
        inside = np.clip(length[:, None], edges[:-1], edges[1:]) - edges[:-1]
        np.add.at(sums["start", "tokens"], (problem, step), inside)
        np.add.at(sums["relative", "tokens"], (problem, step), length[:, None])
        for kind in QUANTITIES.values():
            owner, position = marked_positions(batch[kind])
            entries = {
                "start": by_index(owner, position, edges),
                "relative": by_share(owner, position, length[owner], bins),
            }
            for origin, (of, in_bin, weight) in entries.items():
                cell = np.ravel_multi_index((problem[of], step[of], in_bin), (*shape, sizes[origin]))
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


def table(cross_samples: Sequence[Path], analysis: dict) -> pl.DataFrame:
    """Rows of replacement_positions.csv, at every finite threshold; all files share their bins.

    Positions are relative to the response's length, or counted from its start, with bin_high exclusive. at_budget marks
    the threshold that C11 to C13 are judged at; of a random control, that of the js run it matches.
    """
    bootstrap, bins = Bootstrap(**analysis["bootstrap"]), analysis["position_bins"]
    sweeps = {tuple(names("cross_samples", path).values()): sweep(path, bootstrap) for path in cross_samples}
    longest = max(int(measured.counts["tokens"].max()) for measured in sweeps.values())
    edges, shares = index_edges(longest, bins), [index / bins for index in range(bins + 1)]
    tables = []
    for (*run, criterion), measured in sweeps.items():
        matched = sweeps.get((*run, "js"), measured) if criterion in CONTROLS else measured
        judged = step_within(measured, matched, analysis["claims"]["budget"])
        sums = position_sums(measured, edges, bins)
        weights = bootstrap.weights(len(measured.problem_ids))
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
