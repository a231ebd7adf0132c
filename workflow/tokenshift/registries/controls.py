"""Random controls: cross-sampling that switches at random, matched to the budget of the js run of its direction.

A new control is an entry of CONTROLS; tokenshift.cross_sampling.controls computes, from what it matches, the
probabilities at which it switches.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Control:
    """What a random control has in common with the js run.

    Args:
        name: in the study file, and in names of files.
        label: in figures.
        matched: what is the same as of the js run, in words.
        effective: whether the share of replaced tokens is matched; else that of switched ones.
        by_position: whether the share is matched along the response; else over all of it.
        pilot: the control whose run shows how often a switched token is also replaced, where that is needed.
    """

    name: str
    label: str
    matched: str
    effective: bool
    by_position: bool
    pilot: str | None = None


CONTROLS = {
    control.name: control
    for control in (
        Control("random", "random, as many switched", "the same switched share", False, False),
        Control(
            "random_effective",
            "random, as many replaced",
            "the same effective share",
            effective=True,
            by_position=False,
            pilot="random",
        ),
        Control(
            "random_position",
            "random, as many switched along the response",
            "the same switched share along the response",
            effective=False,
            by_position=True,
        ),
        Control(
            "random_effective_position",
            "random, as many replaced along the response",
            "the same effective share along the response",
            effective=True,
            by_position=True,
            pilot="random_position",
        ),
    )
}

STRICTEST_FIRST = sorted(
    CONTROLS, key=lambda name: (CONTROLS[name].effective, CONTROLS[name].by_position), reverse=True
)
