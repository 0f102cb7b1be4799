"""`--by KEY`: a metric against a swept setting, a line for each model and phase."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gen_models.analysis import plots
from gen_models.analysis.groups import Group, Summary, group_runs, measured
from gen_models.analysis.metrics import FID, QUICK, metric
from gen_models.analysis.settings import short_name, show_value, sortable, varying
from gen_models.comparison.verdicts import LOSS_IS, LOSSES, verdict
from gen_models.errors import UserError

SWEPT = (FID, QUICK + FID, "test/loss")
RATES = ("lr", "lr_g", "lr_d")  # on a logarithmic axis


class Point(NamedTuple):
    """A group of one line."""

    value: Any  # of the setting
    group: Group
    summary: Summary

    @property
    def label(self) -> str:
        """The value as shown."""
        return show_value(self.value)


class Line(NamedTuple):
    """Groups that differ only by the swept setting, by one metric."""

    label: str
    points: list[Point]  # in the order of the setting
    best: str  # which setting is best and how surely; "" with a single setting
    best_value: str  # as shown; "" if there is none


class Sweep(NamedTuple):
    """One metric against the setting."""

    key: str  # the setting, as typed
    metric: str
    numeric: bool  # on a logarithmic axis
    lines: list[Line]

    def plot(self) -> plots.Scatter | None:
        """A line each through the medians, a mark a run."""
        # Numbers are in their order, words in that of the longest line.
        longest = sorted(self.lines, key=lambda line: -len(line.points))
        places = {point.value: point.label for line in longest for point in line.points}
        if self.numeric:
            places = dict(sorted(places.items()))
        series, words = [], []
        for line in self.lines:
            own = plots.Series(line.label)
            medians = [(value, each.median) for value, _, each in line.points if each.sound]
            own.bars += itertools.pairwise(medians)
            for value, _, summary in line.points:
                own.sound += [(value, number) for number in summary.sound.values()]
                own.failed += [(value, number) for number in summary.unsound]
                own.diverged += [value] * (len(summary.finite) < len(summary.values))
            series.append(own)
            shown = ", ".join(f"{point.label} {point.summary.text}" for point in line.points)
            words.append(f"{line.label}: {shown}.")
        heights = [height for each in series for _, height in each.points]
        if not heights:
            return None
        alt = f"{self.metric} against {self.key}. {' '.join(words)}"
        axis = plots.settings_axis(places, numeric=self.numeric)
        title, upwards = metric(self.metric).title, plots.linear(heights)
        return plots.Scatter(title, alt, self.key, series, axis, upwards)


def sweeps(groups: Sequence[Group], key: str) -> list[Sweep]:
    """Set every metric of quality against a setting: "lr", "hidden_dims", "model.dropout", ...

    A loss is left out where the setting changes what it is (LOSS_IS).

    Raises:
        UserError: No such setting, or it is the same in all runs; names those that vary.
    """
    setting = _check(groups, key)
    known = measured(groups)
    names = [name for name in SWEPT if name in known]
    if f"model.{setting}" in LOSS_IS:
        names = [name for name in names if name not in LOSSES]
    sizes, result = {}, []
    for name in names:
        lines = _lines(groups, setting, name)
        if any(len(line.points) > 1 for line in lines):
            values = [point.value for line in lines for point in line.points]
            numeric = setting in RATES and all(value and value > 0 for value in values)
            result.append(Sweep(setting, name, numeric, lines))
            sizes[name] = len(values)
    if not result:
        raise UserError(
            f"--by {key}: no two groups that are evaluated differ by it alone: name such runs, or "
            "measure them with gen-models evaluate RUN"
        )
    if sizes.get(FID, 0) >= sizes.get(QUICK + FID, 0):  # 2,000 samples say nothing more
        result = [sweep for sweep in result if sweep.metric != QUICK + FID]
    return result


def _check(groups: Sequence[Group], key: str) -> str:
    """The setting's short name, if it differs among groups of one model."""
    setting = short_name(key) if key.startswith("model.") else key.rpartition(".")[2]
    known = {short_name(name) for group in groups for name in group.settings}
    models = dict.fromkeys(group.model for group in groups)
    settings = [[group.settings for group in groups if group.model == model] for model in models]
    vary = dict.fromkeys(short_name(name) for each in settings for name in varying(each))
    nothing = "nothing but the seed varies among the runs of a model"
    hint = f"these vary: {', '.join(vary)}" if vary else nothing
    if setting in vary:
        return setting
    problem = "the same in all runs of a model" if setting in known else "no such setting"
    if setting == "seed":
        problem = "the seeds of a group are its repetitions"
    raise UserError(f"--by {key}: {problem}; {hint}")


def _lines(groups: Sequence[Group], setting: str, metric: str) -> list[Line]:
    """A line for the groups alike in all but the setting, named as groups are without it."""
    alike: dict[tuple[Any, ...], list[Point]] = {}
    for group in groups:
        names = [name for name in group.settings if short_name(name) == setting]
        if metric in group.summaries and names:
            # the widths of two models are two settings, of which a group has one
            key = next((name for name in names if group.settings[name] is not None), names[0])
            rest = tuple(item for item in group.settings.items() if item[0] != key)
            value = group.settings[key]
            if setting == "sampler" and value is None:
                value = "prior"
            alike.setdefault(rest, []).append(Point(value, group, group.summaries[metric]))
    runs = []
    for rest, points in alike.items():
        phases = {"phase": "/".join(sorted({point.group.phase for point in points}))}
        for run in (run for point in points for run in point.group.runs):
            runs.append(replace(run, settings=dict(rest), record=run.record | phases))
    lines = []
    for line in group_runs(runs):
        points = alike[tuple(line.settings.items())]
        points.sort(key=lambda point: sortable(point.value))
        lines.append(Line(line.label, points, *_best(points, setting, metric)))
    return lines


def _best(points: Sequence[Point], setting: str, key: str) -> tuple[str, str]:
    """Which setting is best and how surely, in words; and the setting."""
    if len(points) < 2:
        return "", ""
    sound = [point for point in points if point.summary.sound]
    sound.sort(key=lambda point: metric(key).rank(point.summary.median))
    if not sound:
        text = "no best setting"
    elif len(sound) == 1:
        text = f"only {setting} {sound[0].label} has runs that did not fail"
    else:
        first, second = sound[:2]
        compared = verdict(first.summary, second.summary)
        text = f"{setting} {first.label} has the lowest {key}"
        if compared.few:
            text = f"cannot decide; the lowest {key} is that of {setting} {first.label}"
        text += f"; against the runner-up {second.label}: {compared.text}"
    if failed := [f"{p.label} ({p.summary.failures})" for p in points if p.summary.failures]:
        text += f"; failed: {', '.join(failed)}"
    return text, sound[0].label if sound else ""
