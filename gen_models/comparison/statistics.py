"""How runs compare that may fail: shares, ranks, interquartile means, each with its interval.

A run that failed is no large number but the worst rank: `math.inf` among scores, of which the lower
is the better. References stand with each function; SciPy has the tests it has.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

CONFIDENCE, LEVEL = 0.95, 0.05
RESAMPLES = 10_000  # of permutations and bootstraps
TINY = 1e-9  # of a variance: two samples that do not overlap have none
Array = np.ndarray
Scores = Sequence[float] | Array


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


class Superiority(NamedTuple):
    """theta = P(a run of one is better than a run of the other) + half of the ties."""

    theta: float
    low: float
    high: float
    p: float  # two-sided, of theta = 1/2


def share(count: float, total: int) -> Interval:
    """A share with Wilson's 95 % interval (Wilson 1927); half counts are ties.

    Raises:
        ValueError: Of nothing.
    """
    if total < 1:
        raise ValueError("there is nothing to take a share of")
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    middle = (count + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * math.sqrt(count * (total - count) / total + z**2 / 4)
    return Interval(count / total, max(middle - half, 0.0), min(middle + half, 1.0))


def fisher(failed: int, total: int, other_failed: int, other_total: int) -> float:
    """The p of two rates being the same, two-sided (Fisher's exact test)."""
    table = [[failed, total - failed], [other_failed, other_total - other_failed]]
    return float(stats.fisher_exact(table).pvalue)


def theta(one: Scores, other: Scores) -> float:
    """P(a run of one is better than a run of the other) + half of the ties; lower is better."""
    first, second = np.asarray(one, float)[:, None], np.asarray(other, float)[None]
    return float(((first < second) + 0.5 * (first == second)).mean())


def paired_theta(one: Scores, other: Scores) -> float:
    """The share of pairs in which the one is better, with half of the ties."""
    first, second = np.asarray(one, float), np.asarray(other, float)
    return float(((first < second) + 0.5 * (first == second)).mean())


def superiority(one: Scores, other: Scores, resamples: int = RESAMPLES) -> Superiority:
    """Whether runs of one are better than runs of the other, which are not paired.

    p: permutation test of Brunner and Munzel's statistic (Neubert & Brunner 2007). Interval:
    Newcombe's method 5 (Newcombe 2006), which does not end where the runs do not overlap.

    Args:
        one: Its runs' scores, the lower the better, inf for a failed run.
        other: The other's.
        resamples: Permutations, where not all of them are tried.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    value = theta(one, other)
    low, high = _newcombe(value, len(one), len(other))
    if len(set(one) | set(other)) == 1:
        return Superiority(value, low, high, 1.0)
    test = stats.permutation_test(
        (one, other), brunner_munzel, vectorized=True, n_resamples=resamples - 1, rng=0
    )
    return Superiority(value, low, high, float(test.pvalue))


def paired_superiority(one: Scores, other: Scores) -> Superiority:
    """The same for runs that share a trajectory, pair by pair.

    theta: share of pairs in which the one is better. p: sign-flip permutation of the differences of
    the ranks among all runs; 1 where their mean is on the other side than theta.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    won = paired_theta(one, other) * len(one)
    ranks = stats.rankdata(np.concatenate([one, other]))
    first, second = ranks[: len(one)], ranks[len(one) :]
    if (second - first).sum() * (won - len(one) / 2) <= 0:
        return Superiority(*share(won, len(one)), 1.0)
    test = stats.permutation_test(
        (first, second),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES - 1,
        rng=0,
    )
    return Superiority(*share(won, len(one)), float(test.pvalue))


def against_constant(scores: Scores, constant: float) -> Superiority:
    """Whether runs are better than one number: share of the runs, and the exact sign test."""
    scores = np.asarray(scores, float)
    won = int((scores < constant).sum())
    return Superiority(*share(won, len(scores)), float(stats.binomtest(won, len(scores)).pvalue))


def brunner_munzel(one: Array, other: Array, axis: int = -1) -> Array:
    """Brunner and Munzel's statistic (2000), positive where `one` is lower; along the last axis.

    As `scipy.stats.brunnermunzel`, many at once, and finite where the samples do not overlap.
    """
    n, m = one.shape[-1], other.shape[-1]
    ranks = stats.rankdata(np.concatenate([one, other], axis=-1), axis=-1)
    first, second = ranks[..., :n], ranks[..., n:]
    variance = np.zeros(ranks.shape[:-1])
    for own, pooled, size, rest in ((one, first, n, m), (other, second, m, n)):
        placed = pooled - stats.rankdata(own, axis=-1)  # how many of the other are below
        variance += placed.var(axis=-1, ddof=1) / rest**2 * (n + m) / size if size > 1 else 0.0
    distance = (second.mean(axis=-1) - first.mean(axis=-1)) / (n + m)
    result: Array = distance * math.sqrt(n + m) / np.sqrt(np.maximum(variance, TINY))
    return result


def interquartile_mean(values: Scores, axis: int = -1) -> Array:
    """Mean of the middle half (Agarwal et al. 2021)."""
    result: Array = stats.trim_mean(values, 0.25, axis=axis)
    return result


def reduction(one: Scores, other: Scores, confidence: float = CONFIDENCE) -> Interval:
    """By which share of the other the one is lower: 1 - iqm(one) / iqm(other).

    With a percentile bootstrap's interval, stratified by arm.

    Args:
        one: Values of runs that did not fail.
        other: The other's.
        confidence: Of the interval.
    """
    rng = np.random.default_rng(0)
    one, other = np.asarray(one, float), np.asarray(other, float)
    drawn = [_resampled(values, rng) for values in (one, other)]
    first, second = (interquartile_mean(values) for values in drawn)
    value = 1 - interquartile_mean(one) / interquartile_mean(other)
    return Interval(float(value), *_ends(1 - first / second, confidence))


def paired_reduction(one: Scores, other: Scores, confidence: float = CONFIDENCE) -> Interval:
    """The same of runs that share a trajectory: pairs are drawn together."""
    rng = np.random.default_rng(0)
    one, other = np.asarray(one, float), np.asarray(other, float)
    pairs = rng.integers(len(one), size=(RESAMPLES, len(one)))
    drawn = 1 - interquartile_mean(one[pairs]) / interquartile_mean(other[pairs])
    value = 1 - interquartile_mean(one) / interquartile_mean(other)
    return Interval(float(value), *_ends(drawn, confidence))


def share_won(one: Array, other: Array) -> Superiority:
    """How often the one is better, over all triples of an image, a run of one, a run of the other.

    Interval and p: a bootstrap that draws images, runs of one and runs of the other, crossed (Owen
    2007). Few runs cannot say more by it than by a permutation of them: p is no less than that.

    Args:
        one: Errors, (runs, images); inf for a failed run.
        other: (runs, images), of the same images.
    """
    rng = np.random.default_rng(0)
    won = (one[:, None] < other[None]) + 0.5 * (one[:, None] == other[None])  # (runs, runs, images)
    sizes = won.shape
    counts = [rng.multinomial(size, [1 / size] * size, RESAMPLES) / size for size in sizes]
    by_runs = counts[2] @ won.reshape(-1, sizes[2]).T  # (resamples, runs x runs)
    drawn = np.einsum("bij,bi,bj->b", by_runs.reshape(-1, *sizes[:2]), counts[0], counts[1])
    beyond = min((drawn <= 0.5).sum(), (drawn >= 0.5).sum())
    p = min(1.0, 2 * (1 + float(beyond)) / (1 + RESAMPLES))
    p = max(p, 2 / math.comb(sizes[0] + sizes[1], sizes[0]))
    return Superiority(float(won.mean()), *_ends(drawn, CONFIDENCE), p)


def holm(p: Sequence[float]) -> list[float]:
    """Values of p for so many tests at once (Holm 1979)."""
    adjusted, highest = [1.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted


def _newcombe(theta: float, n: int, m: int) -> tuple[float, float]:
    """The t whose distance to theta is z of their own standard errors, on both sides."""
    z, more = stats.norm.ppf((1 + CONFIDENCE) / 2), (n + m) / 2 - 1

    def beyond(t: float) -> float:
        spread = 1 + more * (1 - t) / (2 - t) + more * t / (1 + t)
        return float((theta - t) ** 2 / (t * (1 - t)) - z**2 * spread / (n * m))

    inside = min(max(theta, TINY), 1 - TINY)
    low = optimize.brentq(beyond, TINY, inside) if theta > TINY else 0.0
    high = optimize.brentq(beyond, inside, 1 - TINY) if theta < 1 - TINY else 1.0
    return float(low), float(high)


def _resampled(values: Array, rng: np.random.Generator) -> Array:
    """(RESAMPLES, n): drawn with replacement."""
    return np.asarray(values[rng.integers(len(values), size=(RESAMPLES, len(values)))])


def _ends(drawn: Array, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
