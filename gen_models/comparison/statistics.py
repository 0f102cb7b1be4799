"""Means and differences over seeds with their 95 % intervals: Student's t, Welch, paired t.

One value has no spread, so no interval; a value that is not finite has no mean.
"""

import warnings
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from scipy import stats

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval, None where the spread is unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether the spread is known."""
        return self.low is not None

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies on that side of 0; else, or without one, 0."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


def mean(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval: mean -+ t(n - 1) s / sqrt(n).

    Raises:
        ValueError: There is no value.
    """
    return _estimate(lambda: stats.ttest_1samp(values, 0.0), values)


def welch(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Difference of two means, one - other, with Welch's interval (Welch 1947).

    Raises:
        ValueError: There is no value on one side.
    """
    return _estimate(lambda: stats.ttest_ind(one, other, equal_var=False), one, other)


def paired(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Mean of one - other, pair by pair, with Student's t interval of the differences.

    Raises:
        ValueError: There are no pairs, or a value without its partner.
    """
    return mean([a - b for a, b in zip(one, other, strict=True)])


def _estimate(test: Callable[[], Any], *samples: Sequence[float]) -> Estimate:
    """The (difference of) means with the interval of a test, run only where there is a spread."""
    if not all(samples):
        raise ValueError("values must not be empty")
    first, *second = map(fmean, samples)
    value = first - sum(second)
    if min(map(len, samples)) < 2:
        return Estimate(value)
    if all(len(set(sample)) == 1 for sample in samples):
        return Estimate(value, value, value)
    with warnings.catch_warnings():  # values that are nearly the same lose digits in p alone
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = test().confidence_interval(CONFIDENCE)
    return Estimate(value, float(interval.low), float(interval.high))
