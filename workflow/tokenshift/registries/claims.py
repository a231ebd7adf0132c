"""The claims of arXiv 2603.22446 that the study judges: what each says, and what the paper reports of it.

A new claim on a pair is an entry of CLAIMS and, with the function that measures it, of `of_pair` in
tokenshift.tables.claim_quantities.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Claim:
    """A claim: a quantity lies on one side of a bound.

    Args:
        name: in tables and figures.
        statement: the claim in a few words.
        side: of the bound, on which the paper says that the quantity lies.
        paper_value: what the paper reports.
        of_training: whether it compares trained models; else it is of a pair.
    """

    name: str
    statement: str
    side: Literal["above", "below"]
    paper_value: str
    of_training: bool = False


CLAIMS = {
    claim.name: claim
    for claim in (
        Claim("C1", "shifts are sparse", "above", "above 0.83 (DAPO), 0.98 (SimpleRL), truncated"),
        Claim("C2", "supervised fine-tuning is denser", "above", "SFT far denser"),
        Claim("C3", "shifts are high at the start", "above", "high at the start"),
        Claim("C4", "shifts rise at the end", "above", "a small rise"),
        Claim("C5", "unchanged tokens are confident", "below", "low JS: low entropy"),
        Claim("C6", "confident tokens overridden too", "above", "high JS: low and high entropy"),
        Claim("C7", "context beats identity", "below", "context dominates"),
        Claim("C8", "the top-2 candidates stay", "above", "over 0.8 (SimpleRL), a little lower (DAPO)"),
        Claim("C9", "reordering within the top 3", "above", "over 0.8 (DAPO), 0.9 (SimpleRL)"),
        Claim("C10", "little comes from nowhere", "below", "about 0.05 (DAPO)"),
        Claim(
            "C11",
            "few tokens suffice for the gain",
            "above",
            "about 0.98 at 0.078 (DAPO), 0.97 at 0.039 (SimpleRL), AIME24",
        ),
        Claim(
            "C12",
            "without them the gain is lost",
            "above",
            "about 0.99 at 0.101 (DAPO), 1.00 at 0.05 (SimpleRL), AIME24",
        ),
        Claim("C13", "beats random positions", "above", "not reported"),
        Claim("C14", "high quantiles grow fastest", "above", "fastest in the high quantiles"),
        Claim("C15", "divergence weights help", "above", "0.026 (high-KL), 0.024 (low-KL)", of_training=True),
    )
}

ORDER = list(CLAIMS)


def statement(name: str, variant: str | None) -> str:
    """The claim called `name` in a few words, with what tells this measurement of it from others."""
    said = CLAIMS[name].statement
    return f"{said}, {variant}" if variant else said
