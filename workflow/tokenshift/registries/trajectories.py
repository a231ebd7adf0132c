"""Names of trajectories, the responses along which a pair is scored: tuned, base, or DIRECTION-CRITERION-STEP.

tuned and base are a policy's own responses. forward-js-3 is step 3 of the sweep forward-js: responses decoded with both
policies at its fourth threshold, since steps count from 0, the threshold +inf at which nothing is switched.
"""

from typing import NamedTuple, Self

OWN = ("tuned", "base")

# Primary and intervention policy of each direction of cross-sampling.
DIRECTIONS = {"forward": ("base", "tuned"), "reverse": ("tuned", "base")}


class Mixed(NamedTuple):
    """A trajectory that was decoded with both policies."""

    direction: str
    criterion: str  # or control
    step: int

    @property
    def sweep(self) -> str:
        """Name of the sweep that it is a step of: DIRECTION-CRITERION."""
        return f"{self.direction}-{self.criterion}"

    @classmethod
    def parse(cls, trajectory: str) -> Self | None:
        """What the name of a mixed trajectory stands for; None for a policy's own."""
        if trajectory in OWN:
            return None
        direction, criterion, step = trajectory.split("-")
        return cls(direction, criterion, int(step))
