"""A mean with its 95 % interval."""

from torch import Tensor

NORMAL_QUANTILE = 1.959964  # 97.5 % of N(0, 1)


def mean_interval(name: str, values: Tensor) -> dict[str, float]:
    """Mean of independent values, with its 95 % interval by the central limit theorem.

    Args:
        name: Name of the metric.
        values: (n,) one an image, n at least 2; meant for some dozens of images or more.

    Returns:
        `name`, `name`/low and `name`/high, in the values' unit.
    """
    exact = values.double()
    mean = exact.mean().item()
    margin = NORMAL_QUANTILE * exact.std().item() / len(values) ** 0.5
    return {name: mean, f"{name}/low": mean - margin, f"{name}/high": mean + margin}
