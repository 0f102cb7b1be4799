"""The plots of runs: each a dot, with the medians; nothing is computed.

Each is SVG inside a page, 360 units wide, so that the text is readable on a phone, with the page's
font. It is drawn in the colours below, which stand for variables of the page's style sheet, light
or dark.
"""

import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gen_models.comparison import metrics
from gen_models.comparison.metrics import BOUNDS, Metric
from gen_models.comparison.sweep import Line, Point, Sweep
from gen_models.comparison.table import Group, show_median
from gen_models.figures import COLORS, our_style

WIDTH = 360
LEFT, RIGHT = 44, 12  # margins of axes with numbers on their left
INK, SOFT, LINE, PAPER = "#1b1d21", "#5b6069", "#d8dbe0", "#fefefe"
VARIABLES = {INK: "currentColor", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"}
VARIABLES |= {color: f"var(--c{index})" for index, color in enumerate(COLORS)}
STYLE = rc_params_from_file(
    Path(__file__).parent / "templates" / "plots.mplstyle", use_default_template=False
)
NEEDLESS = (
    r"<(metadata|style|clipPath)\b.*?</\1>",
    r"<!--.*?-->",
    r"</?g\b[^>]*>",  # they have ids alone, the same in every figure
    r"<defs>\s*</defs>",
    r' clip-path="[^"]*"',
    r' transform="rotate\(-0 [^"]*\)"',
    r" font-family:[^;\"]*;",  # the page's
    r"xlink:",
    r"(?<=>)\s+(?=<)",
)
ROW = 34  # units a group takes
TITLE, PAD = 20, 6  # units above the axes, and between them and the title
BELOW = 44  # units below the axes, without the legend
HEIGHT = 170  # of the axes of a plot with numbers on its left
TEXT = 15  # units a line takes
CHARACTERS = 54  # that fit into the width
MARKS = ("o", "s", "D", "^")  # told apart without colour too
SIZES = (7, 6.5, 6, 8)
DASHES = ((0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 3)))  # of the bounds
CROSS: dict[str, Any] = {"marker": "x", "markeredgewidth": 2, "linestyle": "none", "clip_on": False}


class PlotRow(NamedTuple):
    """One row of a plot of runs."""

    label: str
    told: str  # at the right
    color: int
    sound: Sequence[float]
    failed: Sequence[float]  # of runs that failed but have a number


def seeds_plot(groups: Sequence[Group], key: str, bounds: dict[str, float]) -> str:
    """One row a group: every seed, and the median; floor and ceilings dashed.

    Args:
        groups: In the order of their rows; those without the metric are left out.
        key: The metric.
        bounds: Floors and ceilings, as `table.bounds` gives them.

    Returns:
        SVG; empty if no group has a finite value.
    """
    models = list(dict.fromkeys(group.model for group in groups))
    rows = []
    for group in groups:
        if found := group.summary(key):
            failed = [found.values[seed] for seed in found.failed & found.values.keys()]
            told, color = show_median(metrics.metric(key), found), models.index(group.model)
            rows.append(PlotRow(group.label, told, color, found.sound, failed))
    return runs_plot(rows, key, bounds)


@our_style(STYLE)
def runs_plot(rows: Sequence[PlotRow], key: str, bounds: dict[str, float]) -> str:
    """Every run a dot, hollow where it failed, a bar at the median of the others.

    Returns:
        SVG; empty if no run has a finite value.
    """
    metric = metrics.metric(key)
    values = [v for row in rows for v in (*row.sound, *row.failed) if math.isfinite(v)]
    if not values:
        return ""
    known = {name: bounds[f"{name}/{key}"] for name in BOUNDS if f"{name}/{key}" in bounds}
    near = {name: value for name, value in known.items() if value <= 2.5 * max(values)}
    # Where a label leaves no room for the words at its right, they take a line of their own.
    extra = [TEXT / ROW * (len(r.label) + len(r.told) >= CHARACTERS) for r in rows]
    height = len(rows) + sum(extra) + 6 / ROW
    axes = _new_axes(TITLE, height * ROW, 24 + TEXT * len(known), left=8)
    axes.set_title(metric.title, pad=PAD)
    axes.set_ylim(height, 0)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines["bottom"].set_visible(False)
    handles = []
    for (name, value), dashes in zip(known.items(), DASHES, strict=False):
        words = f"{BOUNDS[name]}: {metric.show(value)}{'' if name in near else ' (off the scale)'}"
        style: dict[str, Any] = {"color": SOFT, "linewidth": 1.5, "linestyle": dashes}
        handles.append(Line2D([], [], label=words, **style))
        if name in near:
            axes.axvline(value, **style)
    top = 0.0
    for row, more in zip(rows, extra, strict=True):
        color = COLORS[row.color % len(COLORS)]
        paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}  # over the bounds' lines
        style = {"transform": axes.get_yaxis_transform(), "va": "baseline", "bbox": paper}
        axes.text(0, top + 0.45, row.label, **style)
        axes.text(1, top + more + 0.45, row.told, ha="right", **style)
        y = top + more + 0.72
        top += 1 + more
        if row.sound:
            tall: dict[str, Any] = {"marker": "|", "markersize": 15, "markeredgewidth": 2.5}
            axes.plot(median(row.sound), y, "", color=color, **tall)
        axes.plot(row.sound, [y] * len(row.sound), **_mark(0, color))
        failed = [value for value in row.failed if math.isfinite(value)]
        hollow = {"markerfacecolor": PAPER, "markeredgecolor": color, "markeredgewidth": 1.5}
        axes.plot(failed, [y] * len(failed), **(_mark(0, color) | hollow))
    least, most = axes.get_xlim()
    axes.set_xlim(0 if min(values) >= 0 > least else least, most)
    told = "; ".join(f"{row.label} {row.told}" for row in rows)
    return _to_svg(axes, handles, f"{key} of each run, a dot each: {told}")


@our_style(STYLE)
def cost_plot(groups: Sequence[Group], cost: str, key: str) -> str:
    """Quality against cost: every run a mark, on a logarithmic axis of cost.

    Returns:
        SVG; empty if no run has both numbers.
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
    spent, quality = metrics.metric(cost), metrics.metric(key)
    families = [f"{group.model.upper()} {group.phase}" for group, _, _ in points]
    names = list(dict.fromkeys(families))
    axes = _quality_axes(quality, spent.words, entries=len(names))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: spent.show(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.08)
    for family, (_, x, y) in zip(families, points, strict=True):
        axes.plot(x, y, **_mark(names.index(family)))
    handles = [Line2D([], [], label=name, **_mark(i)) for i, name in enumerate(names)]
    told = [f"{g.label} {quality.show(y)} at {spent.show(x)}" for g, x, y in points]
    return _to_svg(axes, handles, f"{key} against {spent.meaning}: {'; '.join(told)}")


@our_style(STYLE)
def sweep_plot(sweep: Sweep) -> str:
    """The metric against the swept setting: a line each, a mark a run, X where one diverged."""
    metric = metrics.metric(sweep.metric)
    lost = [line for line in sweep.lines if any(map(_diverged, line.points))]
    entries = len(sweep.lines) + bool(lost)
    axes = _quality_axes(metric, sweep.key, entries=entries, above=TEXT * len(lost))
    places = _places(sweep)
    labels = {point.value: point.label for line in sweep.lines for point in line.points}
    crowded = len(labels) > 4  # every second label a line lower, else long words run together
    lowered = ["\n" * (crowded and index % 2) + labels[value] for index, value in enumerate(places)]
    if sweep.numeric:
        axes.set_xscale("log")
    axes.set_xticks(list(places.values()), lowered)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.06 if sweep.numeric else 0.12, 0.06)
    for index, line in enumerate(sweep.lines):
        _line(axes, line, places, index)
    for height, line in enumerate(lost):
        x = [places[point.value] for point in line.points if _diverged(point)]
        y = 1 + (6 + TEXT * height) / HEIGHT  # above the axes
        color = COLORS[sweep.lines.index(line) % len(COLORS)]
        axes.plot(x, [y] * len(x), color=color, transform=axes.get_xaxis_transform(), **CROSS)
    lines = enumerate(sweep.lines)
    handles = [Line2D([], [], label=line.label, **_mark(index)) for index, line in lines]
    if lost:
        handles.append(Line2D([], [], label="diverged", color=SOFT, **CROSS))
    told = " ".join(_line_in_words(line) for line in sweep.lines)
    return _to_svg(axes, handles, f"{sweep.metric} against {sweep.key}. {told}")


def _quality_axes(metric: Metric, label: str, *, entries: int, above: float = 0) -> Axes:
    """Axes with a metric upwards, for a legend of so many entries."""
    axes = _new_axes(TITLE + above, HEIGHT, BELOW + TEXT * entries)
    axes.set_title(metric.title, pad=PAD + above)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return axes


def _line(axes: Axes, line: Line, places: dict[Any, float], index: int) -> None:
    """One line of a sweep: through the medians, a mark a seed, hollow where it failed."""
    color = COLORS[index % len(COLORS)]
    sound = [(places[p.value], median(p.summary.sound)) for p in line.points if p.summary.sound]
    axes.plot([x for x, _ in sound], [y for _, y in sound], color=color, linewidth=1.75)
    for point in line.points:
        x = places[point.value]
        failed = [value for value in point.summary.finite if value not in point.summary.sound]
        axes.plot([x] * len(point.summary.sound), point.summary.sound, **_mark(index))
        hollow = {"markerfacecolor": PAPER, "markeredgecolor": color, "markeredgewidth": 1.5}
        axes.plot([x] * len(failed), failed, **(_mark(index) | hollow))


def _diverged(point: Point) -> bool:
    return len(point.summary.finite) < len(point.summary.values)


def _places(sweep: Sweep) -> dict[Any, float]:
    """Where each setting stands: a number where it is, a word in the order of the longest line."""
    if sweep.numeric:
        return {v: v for v in sorted({p.value for line in sweep.lines for p in line.points})}
    lines = sorted(sweep.lines, key=lambda line: -len(line.points))
    settings = dict.fromkeys(point.value for line in lines for point in line.points)
    return {value: float(index) for index, value in enumerate(settings)}


def _mark(index: int, color: str = "") -> dict[str, Any]:
    """A dot, square, diamond or triangle."""
    return {
        "linestyle": "none",
        "marker": MARKS[index % len(MARKS)],
        "markersize": SIZES[index % len(MARKS)],
        "color": color or COLORS[index % len(COLORS)],
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.75,
    }


def _line_in_words(line: Line) -> str:
    medians = [(point.label, point.summary.median) for point in line.points]
    told = [f"{label} diverged" if m is None else f"{label} {m:.4g}" for label, m in medians]
    return f"{line.label}: {', '.join(told)}."


def _new_axes(above: float, height: float, below: float, *, left: float = LEFT) -> Axes:
    """Axes in a new figure of the page's width; all in units, `below` is for numbers and legend."""
    whole = above + height + below
    figure = Figure(figsize=(WIDTH / 72, whole / 72))
    share = (left / WIDTH, below / whole, (WIDTH - RIGHT - left) / WIDTH, height / whole)
    axes = figure.add_axes(share)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return axes


def _to_svg(axes: Axes, handles: Sequence[Line2D], alt: str) -> str:
    """The axes' figure as an <svg> element without what a page has once, the same every time.

    Args:
        axes: From `_new_axes`.
        handles: Of the legend, under the plot at its left.
        alt: The figure in words.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    if handles:
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0.01))
    file = io.StringIO()
    with our_style(STYLE | {"svg.hashsalt": alt}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = re.sub(r".*?<svg\b[^>]*>", "", file.getvalue(), count=1, flags=re.DOTALL)
    for pattern in NEEDLESS:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    marks = re.sub(r"<[^>]*>", _shorten, text.strip())
    box = f"0 0 {WIDTH} {figure.get_figheight() * 72:.0f}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}">{marks}'


def _shorten(tag: re.Match[str]) -> str:
    """A tag with variables for colours, on one line, its numbers to a tenth of a unit."""
    text = re.sub(r"(\.\d)\d+", r"\1", " ".join(tag[0].split()))
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    return text
