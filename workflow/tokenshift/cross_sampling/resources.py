"""What decoding may use, and what it used."""

from dataclasses import dataclass

from tokenshift.errors import StudyError


@dataclass(frozen=True)
class Resources:
    """How to decode; responses do not depend on it, but for near ties under another rounding."""

    batch_size: int  # most responses decoded together
    memory_mb: int  # for keys and values of both policies, which may allow fewer rows
    draft: int | None  # tokens the primary drafts; 1: lock-step; None: chosen from measured costs
    near_tie: float  # margin below which a decision counts as a near tie


@dataclass
class Cost:
    """Forward passes and tokens of a run."""

    primary_forwards: int = 0
    intervention_forwards: int = 0
    prefills: int = 0  # forward passes that only fill a cache
    computed: int = 0  # positions that they computed, prompts included, and padding
    needed: int = 0  # the same without padding
    decided: int = 0  # positions decided by models
    cut: int = 0  # of these, positions that cut a draft, or at which a row waited for the intervention
    reused: int = 0  # response tokens known from another threshold

    @property
    def forwards_per_token(self) -> float:
        """Forward passes of both policies per token decoded, prefilling apart."""
        return (self.primary_forwards + self.intervention_forwards) / max(1, self.decided)


def rows_within(memory_mb: int, bytes_per_row: int, batch_size: int) -> int:
    """Rows to decode together: as many as `memory_mb` holds, at most `batch_size`."""
    rows = min(batch_size, memory_mb * 10**6 // bytes_per_row)
    if rows == 0:
        raise StudyError(
            f"keys and values of one response of full length take {bytes_per_row / 1e6:.0f} MB, "
            f"and the memory for them is {memory_mb} MB; raise it or shorten the responses"
        )
    return rows
