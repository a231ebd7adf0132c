"""Decoding with two policies: switching rules, and the decoder that applies them."""

from tokenshift.cross_sampling.decoder import cross_sample
from tokenshift.cross_sampling.resources import Cost, Resources
from tokenshift.cross_sampling.rules import ALL, CRITERIA, NONE, Criterion, Threshold, named
from tokenshift.cross_sampling.trace import CrossSample

__all__ = [
    "ALL",
    "CRITERIA",
    "NONE",
    "Cost",
    "Criterion",
    "CrossSample",
    "Resources",
    "Threshold",
    "cross_sample",
    "named",
]
