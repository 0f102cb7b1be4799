"""Means and differences over seeds with their 95 % intervals: Student's t, Welch, paired t.

One value has no spread, so no interval; a value that is not finite has no mean.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import t as student

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A figure and the ends of its 95 % interval, None where the spread is unknown."""

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
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def mean(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval: mean -+ t(n - 1) s / sqrt(n).

    Raises:
        ValueError: There is no value.
    """
    if not values:
        raise ValueError("values must not be empty")
    n = len(values)
    average = math.fsum(values) / n
    return _estimate(average, _variance(values, average) / n if n > 1 else None, n - 1)


def welch(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Difference of two means, one - other, with Welch's interval.

    Welch 1947: standard error sqrt(s1^2 / n1 + s2^2 / n2), degrees of freedom by Satterthwaite
    1946, (v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1)) with v = s^2 / n.

    Raises:
        ValueError: There is no value on one side.
    """
    first, second = mean(one).value, mean(other).value
    difference = first - second
    if min(len(one), len(other)) < 2:
        return Estimate(difference)
    parts = [_variance(v, m) / len(v) for v, m in ((one, first), (other, second))]
    weights = [part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True)]
    freedom = sum(parts) ** 2 / sum(weights) if sum(weights) else math.inf
    return _estimate(difference, sum(parts), freedom)


def paired(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Mean of one - other, pair by pair, with Student's t interval of the differences.

    Raises:
        ValueError: There are no pairs, or a value without its partner.
    """
    return mean([a - b for a, b in zip(one, other, strict=True)])


def _variance(values: Sequence[float], average: float) -> float:
    return math.fsum((value - average) ** 2 for value in values) / (len(values) - 1)


def _estimate(value: float, squared_error: float | None, freedom: float) -> Estimate:
    if squared_error is None:
        return Estimate(value)
    margin = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(squared_error)
    return Estimate(value, value - margin, value + margin)
