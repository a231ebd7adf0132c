"""What a study holds on one pair and problem set, for the claims to be measured with."""

from dataclasses import dataclass, field

import polars as pl

from tokenshift.config.analysis import Bootstrap
from tokenshift.tables.cells import Cell, measure
from tokenshift.tables.files import Files, scan, scan_scores
from tokenshift.tables.statistics import Resampled
from tokenshift.tables.sweep import Sweep, strictest_controls, sweep


class NotMeasured(Exception):
    """The study holds nothing that this claim could be measured with."""


@dataclass(frozen=True)
class Evidence:
    """Scores of the pair and its control along the tuned policy's responses, checkpoint scores, sweeps.

    Scores are scanned anew by every claim, which reads the columns it needs. Each kind is None, or absent from `sweeps`
    (by direction and criterion), where the study did not make it. `swept`: the sweeps that it made of any pair.
    """

    bootstrap: Bootstrap
    scores: pl.LazyFrame | None = None
    control: pl.LazyFrame | None = None
    checkpoint_scores: pl.LazyFrame | None = None
    sweeps: dict[tuple[str, str], Sweep] = field(default_factory=dict)
    swept: frozenset[tuple[str, str]] = frozenset()

    def held(self, kind: str) -> pl.LazyFrame:
        """The rows called `kind`. Raises NotMeasured without it."""
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

    def random_controls(self, direction: str) -> list[str]:
        """The strictest random controls that the study made in that direction, of this pair or another.

        The plain one where it made none.
        """
        return strictest_controls({criterion for of, criterion in self.swept if of == direction}) or ["random"]


def gather(pair: str, control: str | None, problem_set: str, files: dict[str, Files], bootstrap: Bootstrap) -> Evidence:
    """What `files` (by kind, then by names) hold on the pair, its control and the problem set."""
    scores, control = (files["scores"].get((of, problem_set, "tuned")) for of in (pair, control))
    checkpoint_scores = files["checkpoint_scores"].get((pair, problem_set))
    sweeps = {
        (direction, criterion): sweep(path, bootstrap)
        for (of_pair, of_set, direction, criterion), path in files["cross_samples"].items()
        if (of_pair, of_set) == (pair, problem_set)
    }
    return Evidence(
        bootstrap,
        scores and scan_scores(scores),
        control and scan_scores(control),
        checkpoint_scores and scan("checkpoint_scores", checkpoint_scores),
        sweeps,
        frozenset(key[2:] for key in files["cross_samples"]),
    )
