"""Random numbers keyed by what they are for, never by where they sit in a batch.

One uniform per (seed, purpose, problem, sample, position), from numpy's counter-based Philox generator: the key is a
hash of all but the position, the counter is the position. A response is therefore the same whatever the batch size,
the number of shards or the order of completion, and two policies or thresholds can share their random numbers.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def uniforms(seed: int, purpose: str, problem_ids: Sequence[str], samples: Sequence[int], length: int) -> np.ndarray:
    """Uniforms in [0, 1) of the rows (problem, sample), for positions 0 to length - 1: (rows, length) float64."""
    noise = np.empty((len(problem_ids), length))
    for row, (problem_id, sample) in enumerate(zip(problem_ids, samples, strict=True)):
        identity = repr((int(seed), purpose, str(problem_id), int(sample))).encode()
        key = int.from_bytes(hashlib.blake2b(identity, digest_size=16).digest(), "little")
        noise[row] = np.random.Generator(np.random.Philox(key=key)).random(length)
    return noise
