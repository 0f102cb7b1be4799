"""The plots of the report as SVG: seeds as dots, means with intervals; nothing is computed."""

import math
from collections.abc import Sequence
from typing import Any

from gen_models.comparison.drawing import LEFT, RIGHT, WIDTH, Axis, Canvas, tick_text
from gen_models.comparison.metrics import BOUNDS, metric
from gen_models.comparison.sweep import Line, Sweep
from gen_models.comparison.table import Group

ROW = 34
TITLE = 18
COLORS = 4  # classes c0 to c3 of the page
SHAPES: dict[int, list[tuple[float, float]]] = {  # of a mark, beside the dot
    1: [(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)],
    2: [(0, -5), (5, 0), (0, 5), (-5, 0)],
    3: [(0, -4.5), (4.5, 4), (-4.5, 4)],
}


def seeds_plot(groups: Sequence[Group], key: str, bounds: dict[str, float]) -> str:
    """One row a group: every seed, the mean, its 95 % interval; floor and ceilings dashed.

    Args:
        groups: In the order of their rows; those without the metric are left out.
        key: The metric.
        bounds: Floors and ceilings, as `table.bounds` gives them.

    Returns:
        SVG; empty if no group has a finite figure.
    """
    shown = [(group, found) for group in groups if (found := group.summary(key))]
    of = metric(key)
    lines = {n: bounds[f"{n}/{key}"] for n in BOUNDS if f"{n}/{key}" in bounds}
    values = [value for _, found in shown for value in found.finite]
    if not values:
        return ""
    ends = [e for _, s in shown if s.estimate for e in (s.estimate.low, s.estimate.high) if e]
    top = max(values)
    drawn = {n: value for n, value in lines.items() if value <= 2.5 * top}  # others: words alone
    least, most = _range([*values, *drawn.values()], alone=len(shown) == 1)
    ends = [min(max(end, least), most) for end in ends]
    axis = Axis([*values, *ends, *drawn.values()], 8, WIDTH - RIGHT, log=False)
    bottom = TITLE + len(shown) * ROW + 8
    told = [f"{g.label} {of.show(s.estimate.value if s.estimate else math.nan)}" for g, s in shown]
    alt = f"{key} of each group, every seed a dot: {'; '.join(told)}"
    canvas = Canvas(bottom + 24 + 14 * len(lines), alt)
    canvas.text(8, 11, f"{key} {of.arrow}", "title")
    for value in axis.ticks():
        canvas.line(axis(value), TITLE, axis(value), bottom, "grid")
        canvas.text(axis(value), bottom + 13, tick_text(value), "tick", anchor="middle")
    for index, (name, value) in enumerate(lines.items()):
        if name in drawn:
            canvas.line(axis(value), TITLE, axis(value), bottom, f"bound b{index}")
        where = "" if name in drawn else " (off the scale)"
        y = bottom + 28 + 14 * index
        canvas.line(8, y - 4, 30, y - 4, f"bound b{index}")
        canvas.text(36, y, f"{BOUNDS[name]}: {of.show(value)}{where}", "tick")
    models = list(dict.fromkeys(group.model for group in groups))
    for row, (group, found) in enumerate(shown):
        y = TITLE + row * ROW + 26
        color = f"c{models.index(group.model) % COLORS}"
        estimate = found.estimate
        words = of.show(estimate.value if estimate else math.nan)
        if found.diverged and estimate:
            words += f" ({found.diverged} of {len(found.values)} diverged)"
        canvas.text(8, y - 9, group.label, "label")
        canvas.text(WIDTH - RIGHT, y - 9, words, "label", anchor="end")
        if estimate and estimate.low is not None and estimate.high is not None:
            low, high = max(estimate.low, least), min(estimate.high, most)
            canvas.line(axis(low), y, axis(high), y, f"interval {color}")
            for end, cut, sign in ((low, estimate.low < low, -1), (high, estimate.high > high, 1)):
                if cut:  # an arrow: it goes on beyond the plot
                    tip = [
                        (axis(end) - sign * 6, y - 4),
                        (axis(end), y),
                        (axis(end) - sign * 6, y + 4),
                    ]
                    canvas.path(tip, f"curve {color}", closed=False)
        if estimate:
            canvas.line(axis(estimate.value), y - 6, axis(estimate.value), y + 6, f"mean {color}")
        for value in found.finite:
            canvas.dot(axis(value), y, 3, f"dot {color}")
    return canvas.svg()


def _range(values: Sequence[float], *, alone: bool) -> tuple[float, float]:
    """The ends of an axis on which the figures can be told apart, however wide their intervals."""
    margin = (1.0 if alone else 0.3) * (max(values) - min(values))
    least = min(values) - margin
    return (max(least, 0.0) if min(values) >= 0 else least), max(values) + margin


def cost_plot(groups: Sequence[Group], cost: str, key: str) -> str:
    """Quality against cost: every run a dot, on a logarithmic axis of cost.

    Returns:
        SVG; empty if no run has both figures.
    """
    points = [
        (group, run.metrics[cost], run.metrics[key])
        for group in groups
        for run in group.runs
        if all(math.isfinite(run.metrics.get(name, math.nan)) for name in (cost, key))
        and run.metrics[cost] > 0
    ]
    if not points:
        return ""
    families = {group.label: f"{group.model.upper()} {group.phase}" for group, _, _ in points}
    shown = list(dict.fromkeys(families.values()))
    bottom = 190
    x = Axis([point[1] for point in points], LEFT, WIDTH - RIGHT - 8, log=True)
    y = Axis([point[2] for point in points], bottom, 20, log=False)
    costs = metric(cost)
    alt = f"{key} against {costs.meaning}: " + "; ".join(
        f"{g.label} {metric(key).show(q)} at {costs.show(c)}" for g, c, q in points
    )
    canvas = Canvas(bottom + 34 + 15 * len(shown), alt)
    _frame(canvas, y, bottom, f"{key} {metric(key).arrow}")
    for value in x.ticks():
        canvas.text(x(value), bottom + 13, tick_text(value), "tick", anchor="middle")
    unit = f", {costs.unit}" if costs.unit else ""
    canvas.text(WIDTH - RIGHT, bottom + 27, f"{costs.meaning}{unit}", "tick", anchor="end")
    for group, spent, quality in points:
        _mark(canvas, x(spent), y(quality), shown.index(families[group.label]))
    for index, label in enumerate(shown):
        height = bottom + 42 + 15 * index
        _mark(canvas, LEFT + 6, height - 4, index)
        canvas.text(LEFT + 18, height, label, "label")
    return canvas.svg()


def sweep_plot(sweep: Sweep) -> str:
    """The metric against the swept setting: a line each, a band over seeds, X where diverged."""
    of = metric(sweep.metric)
    every = {point.value: point.label for line in sweep.lines for point in line.points}
    if sweep.numeric:
        ordered = sorted(every)
    else:
        longest = max(sweep.lines, key=lambda line: len(line.points))
        ordered = list(dict.fromkeys([*(p.value for p in longest.points), *every]))
    bottom = 190
    values = [
        value
        for line in sweep.lines
        for point in line.points
        if point.summary.estimate
        for value in (
            *point.summary.finite,
            point.summary.estimate.low,
            point.summary.estimate.high,
        )
        if value is not None
    ] or [1.0]
    y = Axis(values, bottom, 24, log=False)
    if sweep.numeric:
        scale = Axis(ordered, LEFT + 4, WIDTH - RIGHT - 4, log=True)
        place = {value: scale(value) for value in ordered}
    else:
        step = (WIDTH - RIGHT - LEFT) / len(ordered)
        place = {value: LEFT + (i + 0.5) * step for i, value in enumerate(ordered)}
    alt = f"{sweep.metric} against {sweep.key}. " + " ".join(map(_in_words, sweep.lines))
    canvas = Canvas(bottom + 34 + 15 * (len(sweep.lines) + 1), alt)
    _frame(canvas, y, bottom, f"{sweep.metric} {of.arrow}")
    for index, value in enumerate(ordered):
        lower = 11 * (index % 2) if len(ordered) > 4 else 0  # else long words run together
        canvas.text(place[value], bottom + 12 + lower, every[value], "tick", anchor="middle")
    canvas.text(WIDTH - RIGHT, bottom + 35, sweep.key, "tick", anchor="end")
    for index, line in enumerate(sweep.lines):
        _draw(canvas, line, place, y, index)
        height = bottom + 47 + 15 * index
        _mark(canvas, LEFT + 6, height - 4, index)
        canvas.text(LEFT + 18, height, line.label, "label")
    return canvas.svg()


def _draw(canvas: Canvas, line: Line, place: dict[Any, float], y: Axis, index: int) -> None:
    color = f"c{index % COLORS}"
    whole = [point for point in line.points if point.summary.estimate]
    ends = [
        (place[point.value], y(estimate.low), y(estimate.high))
        for point in whole
        if (estimate := point.summary.estimate)
        and estimate.low is not None
        and estimate.high is not None
    ]
    if len(ends) > 1:
        band = [(x, low) for x, low, _ in ends] + [(x, high) for x, _, high in reversed(ends)]
        canvas.path(band, f"band {color}", closed=True)
    for x, low, high in ends:
        canvas.line(x, low, x, high, f"interval {color}")
    middle = [(place[p.value], y(p.summary.estimate.value)) for p in whole if p.summary.estimate]
    if len(middle) > 1:
        canvas.path(middle, f"curve {color}", closed=False)
    for point in line.points:
        for value in point.summary.finite:
            _mark(canvas, place[point.value], y(value), index)
        if point.summary.diverged:
            x = place[point.value] - 10 * index
            canvas.cross(x, 28, f"mean {color}")
            away, anchor = (7, "start") if x < WIDTH / 2 else (-7, "end")
            canvas.text(x + away, 32, "diverged", "tick", anchor=anchor)


def _frame(canvas: Canvas, y: Axis, bottom: float, title: str) -> None:
    canvas.text(2, 11, title, "title")
    for value in y.ticks():
        canvas.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        canvas.text(LEFT - 5, y(value) + 4, tick_text(value), "tick", anchor="end")
    canvas.line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis")


def _mark(canvas: Canvas, x: float, y: float, index: int) -> None:
    """A dot, square, diamond or triangle: told apart without colour too."""
    color = f"dot c{index % COLORS}"
    if index % COLORS == 0:
        canvas.dot(x, y, 3.5, color)
    else:
        corners = SHAPES[index % COLORS]
        canvas.path([(x + dx, y + dy) for dx, dy in corners], color, closed=True)


def _in_words(line: Line) -> str:
    of = [
        f"{point.label} {point.summary.estimate.value:.4g}"
        if point.summary.estimate
        else f"{point.label} diverged"
        for point in line.points
    ]
    return f"{line.label}: {', '.join(of)}."
