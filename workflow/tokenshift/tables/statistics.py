"""Percentile bootstrap over problems (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

Responses to one problem resemble one another, and positions of one response more so; whole problems are therefore
what is resampled, with replacement. A resample is a vector of counts, one per problem: the first row of
`problem_weights` is the sample itself (every count 1), the others are its resamples. They depend on the seed and the
number of problems alone, so all statistics on one problem set share their resamples, and the difference of two
statistics' draws is a paired comparison.

What per-problem sums suffice for:
- means, shares and their differences and ratios: exact (`ratio_of_sums`);
- variance explained by a grouping: exact from sums per problem and group (`variance_explained`);
- quantiles: not; they need each value's number of occurrences per problem (`weighted_quantiles`), from which they are
  exact. Of values rounded beforehand they are the exact quantiles, rounded: rounding keeps the order.

The percentile interval knows only what the problems of the sample show: a share that is 0 in every problem has the
interval [0, 0].
"""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse, stats

from tokenshift.config.analysis import Bootstrap
from tokenshift.errors import StudyError


@dataclass(frozen=True)
class Estimate:
    """Estimates with their intervals, each (cells,); NaN where undefined."""

    estimate: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray


@dataclass(frozen=True)
class Resampled:
    """Statistics of several cells, in the sample and in each of its resamples.

    problem_ids: the problems resampled. draws: (1 + replicates, cells), the sample's values first. n_problems,
    n_tokens: (cells,), how many problems and tokens enter a cell. Cells combine elementwise, one with any number.
    """

    problem_ids: tuple[str, ...]
    draws: np.ndarray
    n_problems: np.ndarray
    n_tokens: np.ndarray

    def __getitem__(self, cells: slice | Sequence[int]) -> "Resampled":
        return Resampled(self.problem_ids, self.draws[:, cells], self.n_problems[cells], self.n_tokens[cells])

    def __sub__(self, other: "Resampled") -> "Resampled":
        """Paired difference, resample by resample; the token counts stay those of the left side."""
        return self._combined(other, self.draws - other.draws)

    def __truediv__(self, other: "Resampled") -> "Resampled":
        """Ratio, resample by resample, NaN where the right side is 0; the token counts stay those of the left side."""
        return self._combined(other, quotient(self.draws, other.draws))

    def _combined(self, other: "Resampled", draws: np.ndarray) -> "Resampled":
        if self.problem_ids != other.problem_ids:
            raise StudyError(
                f"a paired comparison of results on different problems ({len(self.problem_ids)} and "
                f"{len(other.problem_ids)}); delete the results of this problem set and let Snakemake make them again"
            )
        return replace(self, draws=draws, n_problems=np.minimum(self.n_problems, other.n_problems))


def problem_weights(bootstrap: Bootstrap, n_problems: int) -> np.ndarray:
    """How often each problem occurs, in the sample (row 0) and its resamples: (1 + replicates, problems)."""
    return _weights(bootstrap.replicates, bootstrap.seed, n_problems)


@functools.lru_cache(maxsize=2)
def _weights(replicates: int, seed: int, n_problems: int) -> np.ndarray:
    generator = np.random.default_rng([seed, n_problems])
    resamples = generator.multinomial(n_problems, np.full(n_problems, 1 / n_problems), size=replicates)
    weights = np.vstack([np.ones(n_problems), resamples])
    weights.flags.writeable = False
    return weights


def summarise(bootstrap: Bootstrap, resampled: Resampled) -> Estimate:
    """Estimate and percentile interval of every cell.

    A resample in which a cell is undefined (it drew none of the problems that the cell occurs in) is left out of that
    cell's interval. A cell that fewer than two problems enter has no interval: nothing shows how it would vary over
    problems.
    """
    estimate = resampled.draws[0]
    tail = (1 - bootstrap.confidence) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        low, high = np.nanquantile(resampled.draws[1:], [tail, 1 - tail], axis=0)
    known = (resampled.n_problems >= 2) & ~np.isnan(estimate)
    return Estimate(estimate, np.where(known, low, np.nan), np.where(known, high, np.nan))


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise ratio (broadcast), NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)


def ratio_of_sums(weights: np.ndarray, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Sum of the numerators over sum of the denominators, in each resample: (resamples, cells).

    weights (resamples, problems); numerator and denominator (problems, cells) are per-problem sums. A mean over
    positions has the sum of the values above and the number of positions below. NaN where the denominators sum to 0.
    """
    return quotient(weights @ numerator, weights @ denominator)


def t_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean of independent `values` (n,), such as of training seeds; NaN with n below 2.

    It supposes nearly normal values, which a few seeds cannot show; with few the factor of the standard error is large
    (4.3 for three seeds at 95 %), as it has to be.
    """
    if len(values) < 2:
        return np.nan, np.nan
    error = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - error), float(np.mean(values) + error)


def pass_at(k: int, correct: np.ndarray, samples: int) -> np.ndarray:
    """Unbiased estimate of pass@k, 1 - C(n - c, k) / C(n, k) of n samples with c correct (arXiv 2107.03374, eq. 1).

    correct: any shape. k is at most `samples`.
    """
    wrong = samples - correct
    # The quotient of binomials as a product: their own values overflow.
    return 1 - np.prod([np.maximum(wrong - i, 0) / (samples - i) for i in range(k)], axis=0)


def average(parts: Sequence[Resampled]) -> Resampled:
    """Mean of the same cells over `parts`, such as training seeds, resample by resample; token counts add up."""
    if len({part.problem_ids for part in parts}) > 1:
        raise StudyError("a mean over results on different problems; delete them and let Snakemake make them again")
    return Resampled(
        parts[0].problem_ids,
        np.mean([part.draws for part in parts], axis=0),
        np.min([part.n_problems for part in parts], axis=0),
        np.sum([part.n_tokens for part in parts], axis=0),
    )


def average_of_seeds(parts: Sequence[Resampled], bootstrap: Bootstrap) -> Resampled:
    """Mean over `parts`, one for each training seed, with resamples that vary with the problems and with the seeds.

    To each resample of the problems is added an error of the mean over seeds: Student's t with one degree of freedom
    fewer than seeds, times the standard error of the parts in the sample. The percentile interval is that of the two
    errors' sum: Student's t interval over seeds where problems make no difference, the bootstrap over problems where
    seeds make none. The noise of sampled responses is in both errors, so that it is rather too wide. One part shows
    nothing of seeds and is returned as it is.
    """
    mean, seeds = average(parts), len(parts)
    if seeds < 2:
        return mean
    error = np.std([part.draws[0] for part in parts], axis=0, ddof=1) / np.sqrt(seeds)
    levels = (np.arange(bootstrap.replicates) + 0.5) / bootstrap.replicates
    quantiles = np.random.default_rng([bootstrap.seed, seeds]).permutation(stats.t.ppf(levels, seeds - 1))
    return replace(mean, draws=mean.draws + np.concatenate([[0.0], quantiles])[:, None] * error)


def weighted_quantiles(
    weights: np.ndarray, values: np.ndarray, problem: np.ndarray, count: np.ndarray, quantiles: Sequence[float]
) -> np.ndarray:
    """Quantiles of values when each counts as often as its problem was drawn: (resamples, quantiles).

    weights (resamples, problems). Each entry of the other arrays (N,) is one value within one problem: the value, the
    column of weights that its problem has, how often it occurs there. The q-quantile is the smallest value with at
    least the share q of the weight at or below it (numpy's method "inverted_cdf"). NaN in a resample without values.

    Exact, without a pass over all values for each resample: the values are sorted into about sqrt(N) runs, the run
    that holds the quantile follows from the problems' counts in each run, and only that run is searched.
    """
    order = np.argsort(values, kind="stable")
    values, problem, count = values[order], problem[order], count[order].astype(float)
    size = max(1, int(np.sqrt(len(values))))
    run = np.arange(len(values)) // size
    n_problems, n_runs = weights.shape[1], -(-len(values) // size)
    counts = np.bincount(run * n_problems + problem, count, n_runs * n_problems).reshape(n_runs, n_problems)
    at_or_below = np.cumsum(weights @ counts.T, axis=1)  # (resamples, runs)
    draws = np.full((len(weights), len(quantiles)), np.nan)
    for column, q in enumerate(quantiles):
        # q times an integer can exceed the exact product by a rounding error, which would move on to the next value.
        target = np.maximum(np.ceil(np.round(q * at_or_below[:, -1], 6)), 1)
        holding = (at_or_below < target[:, None]).sum(axis=1)
        for index in np.unique(holding[holding < n_runs]):
            rows = np.flatnonzero(holding == index)
            inside = slice(index * size, (index + 1) * size)
            below = at_or_below[rows, index - 1] if index else np.zeros(len(rows))
            cumulative = below[:, None] + np.cumsum(weights[np.ix_(rows, problem[inside])] * count[inside], axis=1)
            draws[rows, column] = values[inside][(cumulative < target[rows, None]).sum(axis=1)]
    return draws


def variance_explained(
    weights: np.ndarray,
    problem: np.ndarray,
    group: np.ndarray,
    count: np.ndarray,
    total: np.ndarray,
    squares: np.ndarray,
    chunk: int = 32,
) -> np.ndarray:
    """Share of the variance of a quantity that its grouping explains, in each resample: (resamples,).

    weights (resamples, problems). Each entry of the other arrays (M,) is one group within one problem: indices of the
    problem and the group, number of values, their sum, the sum of their squares.

    The measure is epsilon squared, 1 - (SS_within / (N - G)) / (SS_total / (N - 1)), for N values in G groups (Kelley,
    PNAS 21, 1935). Eta squared, the plain share SS_between / SS_total, is expected to be (G - 1) / (N - 1) for groups
    that mean nothing, and a vocabulary has many; epsilon squared is then 0 on average, and can fall below. A resample
    repeats problems, so it has fewer distinct values than N, which leaves its draw too high, by the order of G / N.
    NaN where nothing varies or every group has one value.
    `chunk` resamples are computed at once; it bounds memory and changes no result.
    """
    shape = (int(group.max()) + 1, weights.shape[1])
    counts, totals, square_sums = (
        sparse.csr_array((x, (group, problem)), shape=shape) for x in (count, total, squares)
    )
    squares_by_problem = square_sums.sum(axis=0)
    draws = []
    for start in range(0, len(weights), chunk):
        drawn = weights[start : start + chunk].T
        n, s = counts @ drawn, totals @ drawn  # (groups, resamples)
        n_values, n_groups = n.sum(axis=0), (n > 0).sum(axis=0)
        correction = s.sum(axis=0) ** 2 / n_values
        between = (s**2 / np.maximum(n, 1)).sum(axis=0) - correction  # s is 0 where n is
        overall = squares_by_problem @ drawn - correction
        within_variance = quotient(overall - between, n_values - n_groups)
        # Rounding leaves a variance of about 1e-16 of the squares where every value is the same.
        varies = overall > 1e-12 * (overall + correction)
        draws.append(np.where(varies, 1 - quotient(within_variance * (n_values - 1), overall), np.nan))
    return np.concatenate(draws)
