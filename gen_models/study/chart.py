"""A chart of runs as wide as its page: each run a dot, its place a percentage of the width."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison.metrics import metric

BOUNDS = {"floor": "real images", "gaussian": "a crude Gaussian"}
NUMBERS = 5  # under a chart, at most


class ChartRow(NamedTuple):
    """The runs of an arm."""

    label: str
    median: str  # for a person
    color: int
    sound: Sequence[float]
    failed: Sequence[float]  # of runs that failed but have a value
    middle: float | None  # the median of the sound ones


class Chart(NamedTuple):
    """What a template draws; every place is a percentage of the width."""

    title: str
    alt: str
    rows: list[ChartRow]
    bounds: list[tuple[str, float | None]]  # in words, and where; None: off the scale
    numbers: list[tuple[str, float]]  # under the chart


def chart(rows: Sequence[ChartRow], key: str, words: str, bounds: dict[str, float]) -> Chart | None:
    """Place the runs of several arms by one metric; None if no run has a finite value.

    Args:
        rows: Their values.
        key: The metric.
        words: The metric in plain words.
        bounds: "floor", "gaussian" -> the value of real images, of a crude Gaussian.
    """
    values = [v for row in rows for v in (*row.sound, *row.failed) if math.isfinite(v)]
    if not values:
        return None
    least, most = min(values), max(values)
    low = least - (most - least) / 10 if least < 0 or least > most / 2 else 0.0
    step = _step((most - low) or 1.0)
    low = math.floor(low / step) * step
    high = math.ceil(most / step) * step
    high = high if high > low else low + step

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    known = metric(key)
    placed = [
        row._replace(
            sound=[place(value) for value in row.sound],
            failed=[place(value) for value in row.failed if math.isfinite(value)],
            middle=None if row.middle is None else place(row.middle),
        )
        for row in rows
    ]
    limits = [
        (f"{BOUNDS[name]} {known.show(value)}", place(value) if low <= value <= high else None)
        for name, value in bounds.items()
    ]
    count = round((high - low) / step)
    numbers = [(f"{low + n * step:.6g}", place(low + n * step)) for n in range(count + 1)]
    medians = "; ".join(f"{row.label} {row.median}" for row in rows)
    alt = f"{key} of each run, a dot each; medians: {medians}"
    title = f"{words[0].upper()}{words[1:]}" + (f", {known.title}" if words != key else "")
    return Chart(title, alt, placed, limits, numbers)


def _step(span: float) -> float:
    """A round distance between numbers under a chart."""
    power = 10.0 ** math.floor(math.log10(span))
    steps = (factor * power for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0))
    return next(step for step in steps if span / step <= NUMBERS)
