"""Does a sample of outcomes follow a distribution?"""

import numpy as np
from scipy import stats


def rejects(counts: np.ndarray, expected: np.ndarray) -> bool:
    """Chi-square test at the 0.1 % level, outcomes that are expected fewer than five times merged."""
    if counts[expected == 0].any():
        return True
    order = np.argsort(expected)
    rare = order[(expected[order] < 5) | (np.cumsum(expected[order]) < 5)]
    common = np.setdiff1d(order, rare)
    observed = np.append(counts[common], counts[rare].sum())
    predicted = np.append(expected[common], expected[rare].sum())
    keep = predicted > 0
    return stats.chisquare(observed[keep], predicted[keep] * observed[keep].sum() / predicted[keep].sum()).pvalue < 1e-3
