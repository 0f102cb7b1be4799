"""Plots as `templates/macros.html.j2` draws them: values, with axes that place them in percent.

A `Strip` has a row of dots for each group, a dot a run. A `Scatter` has a metric upwards: against a
setting, a mark a run, or against a cost, a mark a group. Where a run failed its mark is hollow.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gen_models.analysis.groups import Summary
from gen_models.analysis.metrics import BOUNDS, metric

NUMBERS, LOGARITHMIC = 5, 7  # at an axis, at most
NEAR = 1.5  # times the largest value of a run: a bound up to there is on the scale
Point = tuple[float, float]
Labelled = tuple[str, float]  # a text and its place, or its value


class Axis(NamedTuple):
    """The scale of an axis."""

    place: Callable[[Any], float]  # of a value, in percent
    numbers: list[Labelled]  # that are shown


class Row(NamedTuple):
    """The runs of a group in a strip."""

    label: str
    color: int
    summary: Summary

    @property
    def text(self) -> str:
        """Its median."""
        count = len(self.summary.values)
        return self.summary.text if self.summary.sound else f"all {count} failed"


class Strip(NamedTuple):
    """Rows of dots on one scale."""

    title: str
    alt: str
    rows: Sequence[Row]
    bounds: list[Labelled]  # floors and ceilings in words, and their values
    axis: Axis


@dataclass
class Series:
    """The marks of one colour, each (x, y)."""

    label: str
    sound: list[Point] = field(default_factory=list)
    failed: list[Point] = field(default_factory=list)
    diverged: list[Any] = field(default_factory=list)  # x alone
    bars: list[tuple[Point, Point]] = field(default_factory=list)  # lines, each with its ends
    # points that are joined, each with a text next to it
    curves: list[list[tuple[float, float, str]]] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """All that must be on the scale."""
        curves = [(x, y) for curve in self.curves for x, y, _ in curve]
        return [*self.sound, *self.failed, *itertools.chain(*self.bars), *curves]


class Scatter(NamedTuple):
    """Marks of several series on two axes."""

    title: str
    alt: str
    x_label: str
    series: Sequence[Series]
    x: Axis
    y: Axis  # upwards
    groups: bool = False  # whether a mark is a group, not a run
    level: Labelled | None = None  # a line all across, such as that of real images


def strip(rows: Sequence[Row], key: str, bounds: dict[str, float], words: str = "") -> Strip | None:
    """The runs of several groups by one metric; None if no run has a finite value.

    `bounds` are those of `groups.bounds`; the metric's plain `words` go into the title.
    """
    values = [value for each in rows for value in each.summary.finite]
    if not values:
        return None
    known = metric(key)
    limits = {name: bounds[f"{bound}/{key}"] for bound, name in BOUNDS.items()
              if f"{bound}/{key}" in bounds}  # fmt: skip
    axis = linear([*values, *(v for v in limits.values() if v <= NEAR * max(values))])
    medians = "; ".join(f"{each.label} {each.text}" for each in rows)
    title = f"{words[0].upper()}{words[1:]}, {known.title}" if words else known.title
    alt = f"{key} of each run, a dot each; medians: {medians}"
    marked = [(f"{name} {known.show(value)}", value) for name, value in limits.items()]
    return Strip(title, alt, rows, marked, axis)


def linear(values: Sequence[float]) -> Axis:
    """An axis from 0, or from below the least value where that is far from 0."""
    least, most = min(values), max(values)
    low = least - (most - least) / 10 if least < 0 or least > most / 2 else 0.0
    power = 10.0 ** math.floor(math.log10((most - low) or 1.0))
    steps = (factor * power for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0))
    step = next(step for step in steps if (most - low) / step <= NUMBERS)
    low = math.floor(low / step) * step
    count = max(1, math.ceil((most - low) / step - 1e-9))

    def place(value: float) -> float:
        return round(100 * (value - low) / (count * step), 2)

    ticks = (low + number * step for number in range(count + 1))
    return Axis(place, [(f"{tick:.6g}", place(tick)) for tick in ticks])


def logarithmic(values: Sequence[float], show: Callable[[float], str], margin: float = 0.0) -> Axis:
    """An axis of values above 0, with the round numbers among them, or their ends.

    `show` makes a text of a number; `margin` is the share of the length that is free at either end.
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    free = margin * ((high - low) or 1.0)
    low, high = low - free, high + free
    powers = range(math.floor(low), math.ceil(high) + 1)
    inside: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        more = [tick for tick in ticks if low <= math.log10(tick) <= high]
        inside = more if len(more) <= LOGARITHMIC or not inside else inside
    inside = inside[:: math.ceil(len(inside) / LOGARITHMIC) or 1]
    if len(inside) < 2:
        inside = sorted({min(values), max(values)})

    def place(value: float) -> float:
        return round(100 * (math.log10(value) - low) / ((high - low) or 1.0), 2)

    return Axis(place, [(show(tick), place(tick)) for tick in inside])


def settings_axis(settings: dict[Any, str], *, numeric: bool) -> Axis:
    """An axis of settings with their words, in their order; numbers on a logarithmic scale."""
    if numeric:
        place = logarithmic([*settings], str).place
    else:
        places = {setting: index for index, setting in enumerate(settings)}

        def place(value: Any) -> float:
            return round(100 * (places[value] + 0.5) / len(places), 2)

    return Axis(place, [(text, place(setting)) for setting, text in settings.items()])
