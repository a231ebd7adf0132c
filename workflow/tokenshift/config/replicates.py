"""Names of a model's replicates: a model NAME with the seeds 1 and 2 becomes the models NAME-s1 and NAME-s2."""

import re


def replicate(declared: str, seed: int) -> str:
    """Name of the model that `declared` becomes with `seed`, where it has several seeds."""
    return f"{declared}-s{seed}"


def is_replicate(name: str, declared: str) -> bool:
    """Whether `name` could be the name of a replicate of the model `declared`."""
    return re.fullmatch(re.escape(declared) + r"-s\d+", name) is not None


def without_seed(name: str) -> str:
    """The name that a replicate was declared by; a name that ends in no seed as it is."""
    return re.sub(r"(?<=.)-s\d+$", "", name)
