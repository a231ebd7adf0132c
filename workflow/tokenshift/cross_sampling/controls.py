"""Random controls: at which probability to switch, so that a run matches the budget of a js run of the same direction.

Random positions seldom change the token, so a control with as many switches replaces far fewer tokens: `effective`
controls match the replaced share instead, calibrated with a run that matched the switched share (its pilot). Positions
of high JS crowd at some places of a response, above all the start: `position` controls match the profile along it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tokenshift.cross_sampling.positions import bin_of_index, index_edges
from tokenshift.errors import StudyError
from tokenshift.registries.controls import Control

PROFILE_BINS = 24  # of the position, widening geometrically; a bin has one probability


@dataclass(frozen=True)
class Budgets:
    """What a sweep spent, by threshold and bin of the position: all (thresholds, bins), thresholds falling."""

    thresholds: list[float]
    tokens: np.ndarray
    switched: np.ndarray
    replaced: np.ndarray

    def shares(self, counted: np.ndarray, by_position: bool) -> np.ndarray:
        """Share of the tokens that `counted` counts, in every bin, or the same in all: (thresholds, bins).

        A bin that no response of a threshold reaches has the share of the last one reached.
        """
        if not by_position:
            whole = counted.sum(axis=1, keepdims=True) / np.maximum(self.tokens.sum(axis=1, keepdims=True), 1)
            return np.broadcast_to(whole, counted.shape)
        reached = np.where(self.tokens > 0, np.arange(counted.shape[1]), 0)
        last = np.maximum.accumulate(reached, axis=1)
        return np.take_along_axis(counted / np.maximum(self.tokens, 1), last, axis=1)


def budgets(sweep: pl.DataFrame, positions: int) -> Budgets:
    """What a sweep spent; `sweep` holds threshold, switched and replaced (schemas.CROSS_SAMPLES)."""
    edges = index_edges(positions, PROFILE_BINS)
    flat = sweep.select("threshold", "switched", "replaced", position=pl.int_ranges(pl.col("switched").list.len()))
    binned = flat.explode("switched", "replaced", "position").with_columns(bin=bin_of_index(pl.col("position"), edges))
    counted = binned.group_by("threshold", "bin").agg(
        tokens=pl.len(), switched=pl.col("switched").sum(), replaced=pl.col("replaced").sum()
    )
    thresholds = sweep["threshold"].unique().sort(descending=True).to_list()
    tables = {name: np.zeros((len(thresholds), len(edges) - 1)) for name in ("tokens", "switched", "replaced")}
    row = {threshold: index for index, threshold in enumerate(thresholds)}
    for threshold, bin_, *counts in counted.iter_rows():
        for table, count in zip(tables.values(), counts, strict=True):
            table[row[threshold], bin_] = count
    return Budgets(thresholds, **tables)


def probabilities(control: Control, js: Budgets, pilot: Budgets | None, positions: int) -> dict[float, np.ndarray]:
    """Probability of switching at each position, (positions,), for each threshold of the js sweep.

    `pilot` is the run of the control that calibrates this one (Control.pilot), if one does. Raises StudyError when it
    has other thresholds than the js run.
    """
    by_position = control.by_position
    if control.effective:
        if pilot.thresholds != js.thresholds:
            raise StudyError(
                f"the run that calibrates {control.name} has other thresholds than the js run; delete it and let "
                "Snakemake make it again"
            )
        wanted = js.shares(js.replaced, by_position)
        switched, replaced = (pilot.shares(counted, by_position) for counted in (pilot.switched, pilot.replaced))
        columns = [calibrated(*column) for column in zip(wanted.T, switched.T, replaced.T, strict=True)]
        shares = np.stack(columns, axis=1)
    else:
        shares = js.shares(js.switched, by_position)
    widths = np.diff(index_edges(positions, PROFILE_BINS))
    ends = {np.inf: 0.0, -np.inf: 1.0}
    return {
        threshold: np.full(positions, ends[threshold]) if threshold in ends else np.repeat(row, widths)
        for threshold, row in zip(js.thresholds, shares, strict=True)
    }


def calibrated(wanted: Sequence[float], switched: Sequence[float], replaced: Sequence[float]) -> np.ndarray:
    """Switched shares at which the shares `wanted` would be replaced, by linear interpolation of a pilot's two shares.

    The pilot's shares are those of a sweep from no switch to all; where even all replace fewer than wanted, 1.
    """
    order = np.argsort(switched, kind="stable")
    rising = np.maximum.accumulate(np.asarray(replaced)[order])
    interpolated = np.interp(wanted, rising, np.asarray(switched)[order])
    return np.where(np.asarray(wanted) > rising[-1], 1.0, interpolated)
