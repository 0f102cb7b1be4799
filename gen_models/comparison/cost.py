"""Quality against cost: how near new images come to real ones, for what they cost."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from gen_models.analysis import plots
from gen_models.analysis.groups import Group, measured
from gen_models.analysis.metrics import FID, QUICK, metric, order, solver_and_steps
from gen_models.runs.identity import model_title

SAMPLING = {  # metric -> its words in the title of a plot
    "cost/sampling_seconds": "the seconds that 1,000 images take",
    "cost/flops_per_sample": "the operations that an image takes",
}
TRAINING = {
    "cost/seconds": "the seconds of the training",
    "cost/training_flops": "the operations of the training",
}
NAMED = 16  # groups that have a mark of their own; of more, each model and phase has
MARGIN = 0.08  # of an axis, free at its ends


class Spot(NamedTuple):
    """Where a group is: its median, and lines to the least and the most."""

    at: plots.Point
    bars: list[tuple[plots.Point, plots.Point]]
    failed: bool


def against_cost(
    groups: Sequence[Group], costs: dict[str, str], bounds: dict[str, float]
) -> list[plots.Scatter]:
    """A plot for each cost that was measured, both axes logarithmic, real images as a line.

    `costs` are `SAMPLING` or `TRAINING`, and `bounds` those of `groups.bounds`.
    """
    keys = measured(groups)
    quality = QUICK + FID if FID not in keys and QUICK + FID in keys else FID
    floor = bounds.get(f"floor/{quality}")
    drawn = [_plot(groups, cost, words, quality, floor) for cost, words in costs.items()]
    return [plot for plot in drawn if plot]


def _plot(
    groups: Sequence[Group], cost: str, words: str, key: str, floor: float | None
) -> plots.Scatter | None:
    """The plot of one cost; None if no run has both."""
    series: dict[str, plots.Series] = {}
    places, spent, known = [], metric(cost), metric(key)
    for group in groups:
        name = group.label if len(groups) <= NAMED else f"{model_title(group.model)} {group.phase}"
        curves: dict[str, list[tuple[float, float, str]]] = {}
        for (solver, steps), spot in _spots(group, cost, key).items():
            own = series.setdefault(name, plots.Series(name))
            own.bars += spot.bars
            label = f"{solver} {steps or ''}".strip()
            x, y = spot.at
            place = f"{group.label}, {label}" if label else group.label
            places.append(f"{place} {known.show(y)} at {spent.show(x)}")
            if solver:
                text = str(steps or "") if solver in curves else label
                curves.setdefault(solver, []).append((x, y, text))
            else:
                (own.failed if spot.failed else own.sound).append(spot.at)
        if curves:
            series[name].curves += curves.values()
    points = [point for each in series.values() for point in each.points]
    if not points:
        return None
    level = (f"real images {known.show(floor)}", floor) if floor and floor > 0 else None
    heights = [y for _, y in points] + ([level[1]] if level else [])
    return plots.Scatter(
        f"{known.title} against {words}",
        f"{key} against {spent.meaning}: {'; '.join(places)}",
        spent.words,
        [*series.values()],
        plots.logarithmic([x for x, _ in points], spent.show, MARGIN),
        plots.logarithmic(heights, lambda value: f"{value:.3g}", MARGIN),
        groups=True,
        level=level,
    )


def _spots(group: Group, cost: str, key: str) -> dict[tuple[str, int], Spot]:
    """Where a group is, under ("", 0), and with each solver and number of steps, 0 if adaptive."""
    own = _spot(group, cost, key)
    spots = {("", 0): own} if own else {}
    for other in sorted(group.summaries, key=order) if key == FID and cost in SAMPLING else ():
        solved, prefix = solver_and_steps(other), other.removesuffix(FID)
        if solved and prefix != other:
            spot = _spot(group, prefix + cost.removeprefix("cost/"), other)
            if spot and not spot.failed:
                spots[solved] = spot
    return spots


def _spot(group: Group, cost: str, key: str) -> Spot | None:
    """The place of a group's runs that did not fail, or of all if every one did."""
    known = [
        run
        for run in group.runs
        if all(0 < run.metrics.get(name, math.nan) < math.inf for name in (cost, key))
    ]
    shown = [run for run in known if not run.failed] or known
    if not shown:
        return None
    xs, ys = ([run.metrics[name] for run in shown] for name in (cost, key))
    x, y = median(xs), median(ys)
    bars = [((min(xs), y), (max(xs), y)), ((x, min(ys)), (x, max(ys)))]
    return Spot((x, y), [bar for bar in bars if bar[0] != bar[1]], shown[0].failed)
