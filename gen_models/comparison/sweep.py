"""`--by KEY`: a metric against a swept setting, a line for each model and phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gen_models.comparison.metrics import FID, QUICK, metric
from gen_models.comparison.statistics import Estimate, welch
from gen_models.comparison.table import (
    Group,
    Summary,
    describe,
    short_name,
    show_value,
    sortable,
    varying,
)
from gen_models.comparison.verdicts import in_words, seeds
from gen_models.errors import UserError

METRICS = (FID, QUICK + FID, "test/loss")  # shown against the setting, where measured


class Point(NamedTuple):
    """One setting of one line."""

    value: Any
    label: str
    summary: Summary


@dataclass(frozen=True)
class Line:
    """Groups that differ only by the swept setting, by one metric."""

    label: str
    points: tuple[Point, ...]  # in the order of the setting
    best: str  # which setting is best and how surely; "" with a single setting
    best_value: str  # as shown; "" if there is none


@dataclass(frozen=True)
class Sweep:
    """One metric against the setting."""

    key: str  # the setting, as typed
    metric: str
    numeric: bool  # on a logarithmic axis
    lines: tuple[Line, ...]


def sweeps(groups: Sequence[Group], key: str) -> list[Sweep]:
    """Set every metric that tells quality against a setting.

    Args:
        groups: Every group of the comparison.
        key: A setting: "lr", "activation", "hidden_dims", "max_epochs", "model.dropout", ...

    Raises:
        UserError: No such setting, or it is the same in all runs; says which vary.
    """
    known = {short_name(name) for group in groups for name in group.settings}
    vary = _varying(groups)
    hint = f"these vary: {', '.join(vary)}" if vary else "nothing but the seed varies in these runs"
    short = short_name(key) if key.startswith("model.") else key.rpartition(".")[2]
    if short == "seed":
        raise UserError(f"--by seed: the seeds of a group are its repetitions; {hint}")
    if short not in known:
        raise UserError(f"--by {key}: no such setting; {hint}")
    if short not in vary:
        raise UserError(f"--by {key}: the same in all runs of a model; {hint}")
    found = []
    for name in METRICS:
        lines = _lines(groups, short, name)
        if any(len(line.points) > 1 for line in lines):
            values = [point.value for line in lines for point in line.points]
            numeric = short.startswith("lr") and all(value and value > 0 for value in values)
            found.append(Sweep(short, name, numeric, tuple(lines)))
    if not found:
        raise UserError(
            f"--by {key}: fewer than two settings are evaluated: gen-models evaluate RUN"
        )
    size = {sweep.metric: sum(len(line.points) for line in sweep.lines) for sweep in found}
    if size.get(FID, 0) >= size.get(QUICK + FID, 0):  # 2,000 samples tell nothing more
        found = [sweep for sweep in found if sweep.metric != QUICK + FID]
    return found


def _varying(groups: Sequence[Group]) -> list[str]:
    """The settings that differ among groups of one model, as typed."""
    found: dict[str, None] = {}
    for model in {group.model: None for group in groups}:
        settings = [group.settings for group in groups if group.model == model]
        found |= {short_name(key): None for key in varying(settings)}
    return list(found)


def _name(group: Group, short: str) -> str | None:
    """The group's own key of a setting as typed, None if its model has no such setting."""
    return next((key for key in group.settings if short_name(key) == short), None)


def _lines(groups: Sequence[Group], short: str, of: str) -> list[Line]:
    alike: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        own = _name(group, short)
        if own is not None and group.summary(of) is not None:
            rest = tuple((k, v) for k, v in group.settings.items() if k != own)
            alike.setdefault(rest, []).append(group)
    labels = _labels(list(alike.values()), short)
    return [
        _line(label, same, short, of) for label, same in zip(labels, alike.values(), strict=True)
    ]


def _labels(lines: list[list[Group]], short: str) -> list[str]:
    """Model and phase, and what else tells lines of the same model and phase apart."""
    heads = [
        f"{same[0].model.upper()} {'/'.join(sorted({group.phase for group in same}))}"
        for same in lines
    ]
    labels = []
    for head, same in zip(heads, lines, strict=True):
        family = [s[0].settings for h, s in zip(heads, lines, strict=True) if h == head]
        keys = [key for key in varying(family) if short_name(key) != short]
        words = [describe(key, same[0].settings[key]) for key in keys]
        labels.append(", ".join([head, *words]))
    return labels


def _line(label: str, same: list[Group], short: str, of: str) -> Line:
    points = []
    for group in same:
        value = group.settings[_name(group, short) or short]
        found = group.summary(of)
        assert found is not None
        points.append(Point(value, show_value(value), found))
    points.sort(key=lambda point: sortable(point.value))
    if len(points) < 2:
        return Line(label, tuple(points), "", "")
    sign = -1 if metric(of).better == "higher" else 1
    sound = [p for p in points if p.summary.estimate and not p.summary.diverged]
    sound.sort(key=lambda point: sign * _mean(point))
    if len(sound) < 2:
        only = f"; only {short} {sound[0].label} did not" if sound else ""
        text = f"{len(points) - len(sound)} of {len(points)} settings diverged{only}"
        return Line(label, tuple(points), text, sound[0].label if sound else "")
    first, second = sound[:2]
    difference = welch(first.summary.finite, second.summary.finite)
    told = in_words(metric(of), difference, seeds(first.summary, second.summary))
    shown = metric(of).show(_mean(first))
    text = (
        f"best {short} {first.label} ({of} {shown}); against the runner-up {second.label}: {told}"
    )
    if len(sound) < len(points):
        gone = ", ".join(p.label for p in points if p.summary.diverged)
        text += f"; diverged in some run: {gone}"
    return Line(label, tuple(points), text, first.label)


def _mean(point: Point) -> float:
    estimate: Estimate | None = point.summary.estimate
    return estimate.value if estimate else math.inf
