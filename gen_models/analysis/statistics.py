"""How runs compare that may fail: shares, ranks, interquartile means, each with its interval.

A failed run is no large number but the worst rank: `math.inf` among scores, of which the lower is
the better. The source of each method is named in its function.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

CONFIDENCE, LEVEL = 0.95, 0.05
LEAST = 4  # runs that decide anything: three against three never reach p < 0.05
RESAMPLES = 10_000  # of permutations and bootstraps
ENUMERATED = 1_000_000  # as many splits of the runs, or fewer, are all tried
CHUNK = 2**13  # splits held at once: within a processor's cache
TINY = 1e-9  # of a variance: two samples that do not overlap have none
Array = np.ndarray
Scores = Sequence[float] | Array


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


class Superiority(NamedTuple):
    """theta = P(a run of one is better than a run of the other) + half of the ties; its test."""

    theta: float
    low: float
    high: float
    p: float  # two-sided, of theta = 1/2


def wilson_interval(count: float, total: int) -> Interval:
    """A share of one or more with Wilson's 95 % interval (Wilson 1927); half counts are ties."""
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    middle = (count + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * math.sqrt(count * (total - count) / total + z**2 / 4)
    return Interval(count / total, max(middle - half, 0.0), min(middle + half, 1.0))


def fisher(failed: int, total: int, other_failed: int, other_total: int) -> float:
    """The p of two rates being the same, two-sided (Fisher's exact test)."""
    table = [[failed, total - failed], [other_failed, other_total - other_failed]]
    return float(stats.fisher_exact(table).pvalue)


def least_p(n: int, m: int) -> float:
    """The smallest p that n runs against m can have: 0.1 of three against three."""
    return min(1.0, 2 / math.comb(n + m, n))


def won(one: Array, other: Array) -> Array:
    """1 where the one is better, 1/2 at a tie; lower is better."""
    result: Array = (one < other) + 0.5 * (one == other)
    return result


def probability_of_superiority(one: Scores, other: Scores) -> float:
    """P(a run of one is better than a run of the other) + half of the ties; lower is better."""
    return float(won(np.asarray(one, float)[:, None], np.asarray(other, float)).mean())


def share_of_pairs_won(one: Scores, other: Scores) -> Interval:
    """The share of pairs in which the one is better, with half of the ties; Wilson's interval."""
    share = float(won(np.asarray(one, float), np.asarray(other, float)).mean())
    return wilson_interval(share * len(one), len(one))


def superiority_interval(one: Scores, other: Scores) -> Interval:
    """The probability of superiority with the wider of two 95 % intervals.

    Newcombe's method 5 (Newcombe 2006) covers too seldom where a part of one arm's runs failed;
    Wilson's, on the smaller number of runs, does not.
    """
    value, n, m = probability_of_superiority(one, other), len(one), len(other)
    fewer = min(n, m)
    ends = newcombe_interval(value, n, m), wilson_interval(value * fewer, fewer)[1:]
    return Interval(value, *max(ends, key=lambda interval: interval[1] - interval[0]))


def superiority(one: Scores, other: Scores, resamples: int = RESAMPLES) -> Superiority:
    """Whether runs of one are better than runs of the other, which are not paired.

    `resamples` splits of the runs are drawn where there are too many to try all of them.
    """
    return Superiority(*superiority_interval(one, other), permutation_p(one, other, resamples))


def permutation_p(one: Scores, other: Scores, resamples: int = RESAMPLES) -> float:
    """The two-sided p of Brunner and Munzel's statistic (Neubert & Brunner 2007).

    Over all splits of the runs into two groups of their sizes if there are at most `ENUMERATED`,
    else over so many that are drawn, with the one at hand among them.
    """
    ranks = stats.rankdata(np.concatenate([np.sort(one), np.sort(other)]))
    return 1.0 if np.ptp(ranks) == 0 else _p_of_ranks(tuple(ranks), len(one), resamples)


@functools.lru_cache(maxsize=1024)  # runs that do not overlap have the same ranks in every metric
def _p_of_ranks(ranks: tuple[float, ...], n: int, resamples: int) -> float:
    values = np.array(ranks)
    below = won(values, values[:, None])
    observed = np.arange(len(values)) < n
    if math.comb(len(values), n) <= ENUMERATED:
        splits = _splits(len(values), n)
    else:
        drawn = np.tile(observed, (resamples - 1, 1))
        splits = np.vstack([observed, np.random.default_rng(0).permuted(drawn, axis=1)])
    chunks = range(0, len(splits), CHUNK)
    values = np.concatenate([brunner_munzel(splits[at : at + CHUNK], below) for at in chunks])
    at_hand = brunner_munzel(observed[None], below)[0]
    near = TINY * max(1.0, abs(at_hand))
    tail = min((values >= at_hand - near).sum(), (values <= at_hand + near).sum())
    return min(1.0, 2 * float(tail) / len(values))


def brunner_munzel(splits: Array, below: Array) -> Array:
    """Brunner and Munzel's statistic (2000) of many splits, positive where the first is lower.

    As `scipy.stats.brunnermunzel`, but finite where the groups do not overlap.

    Args:
        splits: (k, runs), whether a run is in the first group.
        below: (runs, runs), 1 where the second index's score is below the first's, 1/2 at a tie.
    """
    first = splits.astype(float)
    second = 1 - first
    variance = np.zeros(len(first))
    for own, rest in ((first, second), (second, first)):
        size, others = own.sum(axis=1), rest.sum(axis=1)
        placed = rest @ below.T  # how many of the other group are below each run
        total = np.einsum("ki,ki->k", own, placed)
        squares = np.einsum("ki,ki,ki->k", own, placed, placed) - total**2 / size
        variance += squares / np.maximum(size - 1, 1) / others**2 / size
        superiority = total / (size * others)  # of the first, after the second turn
    result: Array = (superiority - 0.5) / np.sqrt(np.maximum(variance, TINY))
    return result


def paired_superiority(one: Scores, other: Scores) -> Superiority:
    """The same for runs that share a trajectory, pair by pair.

    Value: the share of pairs in which the one is better. p: sign-flip permutation of the
    differences of the ranks among all runs; 1 where their mean is on the other side than the share.
    """
    interval = share_of_pairs_won(one, other)
    ranks = stats.rankdata(np.concatenate([one, other]))
    differences = ranks[len(one) :] - ranks[: len(one)]
    if differences.sum() * (interval.value - 0.5) <= 0:
        return Superiority(*interval, 1.0)
    if 2 ** len(one) <= ENUMERATED:
        signs = 1 - 2 * (np.arange(2 ** len(one))[:, None] >> np.arange(len(one)) & 1)
    else:
        drawn = np.random.default_rng(0).choice([-1, 1], (RESAMPLES - 1, len(one)))
        signs = np.vstack([np.ones_like(drawn[:1]), drawn])
    far = np.abs(signs @ differences) >= abs(differences.sum()) - TINY
    return Superiority(*interval, float(far.mean()))


def against_constant(scores: Scores, constant: float) -> Superiority:
    """Whether runs are better than one number: share of the runs, and the exact sign test."""
    scores = np.asarray(scores, float)
    won, total = int((scores < constant).sum()), len(scores)
    return Superiority(*wilson_interval(won, total), float(stats.binomtest(won, total).pvalue))


def reduction(
    one: Scores, other: Scores, *, paired: bool = False, confidence: float = CONFIDENCE
) -> Interval:
    """The share by which one is lower than the other: 1 - iqm(one) / iqm(other).

    Interquartile means of runs that did not fail (Agarwal et al. 2021), with a percentile
    bootstrap's interval, stratified by arm. Pairs, which share a trajectory, are drawn together.
    """

    def statistic(one: Array, other: Array, axis: int = -1) -> Array:
        first, second = (stats.trim_mean(values, 0.25, axis=axis) for values in (one, other))
        return np.asarray(1 - first / second)

    samples = np.asarray(one, float), np.asarray(other, float)
    drawn = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, paired=paired, method="percentile",
        confidence_level=confidence, vectorized=True, random_state=np.random.default_rng(0),
    )  # fmt: skip
    return Interval(float(statistic(*samples)), *map(float, drawn.confidence_interval))


def share_won(one: Array, other: Array) -> Superiority:
    """How often the one is better, over all triples of an image, a run of one, a run of the other.

    Interval and p: a bootstrap that draws images, runs of one and runs of the other, crossed (Owen
    2007). Few runs cannot say more by it than by a permutation of them: p is no less than that.

    Args:
        one: Errors, (runs, images); inf for a failed run.
        other: (runs, images), of the same images.
    """
    rng = np.random.default_rng(0)
    wins = won(one[:, None], other)  # (runs, runs, images)
    sizes = wins.shape
    counts = [rng.multinomial(size, [1 / size] * size, RESAMPLES) / size for size in sizes]
    by_runs = counts[2] @ wins.reshape(-1, sizes[2]).T  # (resamples, runs x runs)
    drawn = np.einsum("bij,bi,bj->b", by_runs.reshape(-1, *sizes[:2]), counts[0], counts[1])
    beyond = min((drawn <= 0.5).sum(), (drawn >= 0.5).sum())
    p = min(1.0, 2 * (1 + float(beyond)) / (1 + RESAMPLES))
    p = max(p, least_p(sizes[0], sizes[1]))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Superiority(float(wins.mean()), float(low), float(high), p)


def percent(interval: Sequence[float]) -> str:
    """A share with its interval for a person: "95 % [85, 99]"."""
    value, low, high = (f"{100 * number:.0f}" for number in interval[:3])
    return f"{value} % [{low}, {high}]"


def format_p(p: float) -> str:
    """A p for a person."""
    return f"{p:.2g}"


def holm(p: Sequence[float]) -> list[float]:
    """Values of p for so many tests at once (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.asarray(p, float)[order]
    adjusted = np.maximum.accumulate(np.minimum(steps, 1.0))
    return [float(value) for value in adjusted[np.argsort(order)]]


@functools.lru_cache(maxsize=4)
def _splits(total: int, n: int) -> Array:
    """Every way to choose n of a total, (ways, total) bool."""
    chosen = np.array(list(itertools.combinations(range(total), n)))
    splits = np.zeros((len(chosen), total), bool)
    np.put_along_axis(splits, chosen, True, axis=1)
    return splits


def newcombe_interval(theta: float, n: int, m: int) -> tuple[float, float]:
    """Newcombe's interval (2006, method 5): its ends are z of their own standard errors away."""
    z, more = stats.norm.ppf((1 + CONFIDENCE) / 2), (n + m) / 2 - 1

    def beyond(t: float) -> float:
        spread = 1 + more * (1 - t) / (2 - t) + more * t / (1 + t)
        return float((theta - t) ** 2 / (t * (1 - t)) - z**2 * spread / (n * m))

    inside = min(max(theta, TINY), 1 - TINY)
    low = optimize.brentq(beyond, TINY, inside) if theta > TINY else 0.0
    high = optimize.brentq(beyond, inside, 1 - TINY) if theta < 1 - TINY else 1.0
    return float(low), float(high)
