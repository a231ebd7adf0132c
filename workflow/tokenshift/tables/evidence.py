"""What a study holds on one pair and problem set, for the claims to be measured with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tokenshift.statistics import Bootstrap, Resampled
from tokenshift.tables.cells import Cell, measure
from tokenshift.tables.cross_sampling import Sweep, sweep
from tokenshift.tables.files import names, read, read_scores

SCORE_COLUMNS = [
    *("position", "token_id", "entropy_base", "top_ids_base", "top_ids_tuned"),
    *("rank_in_base_of_tuned_top1", "logp_base_of_tuned_top1"),
]

Files = dict[tuple[str, ...], Path]  # by the names in the path, such as (pair, set, trajectory)


class NotMeasured(Exception):
    """The study holds nothing that this claim could be measured with."""


@dataclass(frozen=True)
class Evidence:
    """Scores of the pair and its control along the tuned policy's responses, checkpoint scores, sweeps.

    Each is None, or absent from `sweeps` (by direction and criterion), where the study did not make it.
    """

    bootstrap: Bootstrap
    scores: pl.DataFrame | None = None
    control: pl.DataFrame | None = None
    checkpoint_scores: pl.DataFrame | None = None
    sweeps: dict[tuple[str, str], Sweep] = field(default_factory=dict)

    def held(self, kind: str) -> pl.DataFrame:
        """The frame called `kind`. Raises NotMeasured without it."""
        frame = getattr(self, kind)
        if frame is None:
            raise NotMeasured
        return frame

    def measure(self, cell: Cell, kind: str = "scores") -> Resampled:
        """A cell over the positions of `scores` or `control`. Raises NotMeasured without them."""
        return measure(self.held(kind), [cell], self.bootstrap)

    def sweep(self, direction: str, criterion: str) -> Sweep:
        """A cross-sampling sweep of the pair. Raises NotMeasured without it."""
        if (direction, criterion) not in self.sweeps:
            raise NotMeasured
        return self.sweeps[direction, criterion]


def by_names(kind: str, paths: Sequence[Path]) -> Files:
    """The paths of files of one kind, by what their names stand for."""
    return {tuple(names(kind, path).values()): path for path in paths}


def gather(pair: str, control: str | None, problem_set: str, files: dict[str, Files], analysis: dict) -> Evidence:
    """Read what `files` (by kind, then by names) hold on the pair, its control and the problem set."""

    def scores(of: str | None, columns: list[str]) -> pl.DataFrame | None:
        path = files["scores"].get((of, problem_set, "tuned"))
        return None if path is None else read_scores(path, [*columns, analysis["divergence"]])

    def checkpoint_scores() -> pl.DataFrame | None:
        path = files["checkpoint_scores"].get((pair, problem_set))
        return None if path is None else read("checkpoint_scores", path, ["step", "problem_id", analysis["divergence"]])

    bootstrap = Bootstrap(**analysis["bootstrap"])
    sweeps = {
        (direction, criterion): sweep(path, bootstrap)
        for (of_pair, of_set, direction, criterion), path in files["cross_samples"].items()
        if (of_pair, of_set) == (pair, problem_set)
    }
    return Evidence(bootstrap, scores(pair, SCORE_COLUMNS), scores(control, []), checkpoint_scores(), sweeps)
