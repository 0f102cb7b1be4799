"""A mean with its 95 % interval."""

from typing import NamedTuple

from torch import Tensor

NORMAL_QUANTILE = 1.959964  # 97.5 % of N(0, 1)


class Interval(NamedTuple):
    """A value and the ends of its interval, in its own unit."""

    value: float
    low: float
    high: float


def mean_interval(values: Tensor) -> Interval:
    """Mean of independent values, with its 95 % interval by the central limit theorem.

    Args:
        values: (n,) one an image, n at least 2; meant for some dozens of images or more.

    Raises:
        ValueError: There are fewer than two values, so that their spread is unknown.
    """
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n,) with n >= 2, got {tuple(values.shape)}")
    exact = values.double()
    mean = exact.mean().item()
    margin = NORMAL_QUANTILE * exact.std().item() / len(values) ** 0.5
    return Interval(mean, mean - margin, mean + margin)
