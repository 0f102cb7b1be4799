"""Runs that differ only by seed become a group with a name; medians, floors and ceilings."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

from gen_models.comparison.collect import Run
from gen_models.comparison.metrics import BOUNDS, Metric, is_measure, of_new_images, order
from gen_models.comparison.settings import describe, sortable, varying

NAMES = {"pca": "PCA, {} components", "nearest": "nearest image", "mean_image": "mean image"}


class Summary(NamedTuple):
    """One metric of one group."""

    values: dict[int, float]  # seed -> value, NaN where the run diverged
    failed: frozenset[int] = frozenset()  # seeds of runs whose images are no digits any more

    @property
    def finite(self) -> list[float]:
        """The values that are finite, of failed runs too, by seed."""
        return [value for value in self.values.values() if math.isfinite(value)]

    @property
    def sound(self) -> list[float]:
        """The finite values of the runs that did not fail, by seed."""
        kept = (value for seed, value in self.values.items() if seed not in self.failed)
        return list(filter(math.isfinite, kept))

    @property
    def median(self) -> float | None:
        """Of `sound`, or of `finite` where every run failed; None if there is none."""
        return median(self.sound or self.finite) if self.finite else None

    @property
    def failures(self) -> str:
        """How many runs failed: "1 of 3 failed", "1 of 3 diverged"; "" if none."""
        failed, lost = len(self.values) - len(self.sound), len(self.values) - len(self.finite)
        word = "diverged" if lost == failed else "failed"
        return f"{failed} of {len(self.values)} {word}" if failed else ""

    def scores(self, metric: Metric, real: float | None = None) -> list[float]:
        """A number of each run, the lower the better; inf if it failed."""
        lost = len(self.values) - len(self.sound)
        return [metric.rank(value, real) for value in self.sound] + [math.inf] * lost


def show_median(metric: Metric, summary: Summary) -> str:
    """The median for a person, marked where runs failed: "8.00 (1 of 3 failed)"."""
    text = metric.show(math.nan if summary.median is None else summary.median)
    return f"{text} ({summary.failures})" if summary.failures else text


@dataclass(frozen=True)
class Group:
    """Runs that differ only by their seed."""

    label: str  # "GAN final, lr 0.0005"
    model: str  # its class in lower case
    phase: str
    settings: dict[str, Any]
    runs: tuple[Run, ...]  # by seed
    reference: bool  # the phase without further options, or the only group of its phase

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Every number that some run has; a failure counts in metrics of new images alone."""
        failed, summaries = frozenset(run.seed for run in self.runs if run.failed), {}
        for key in {key: None for run in self.runs for key in run.metrics}:
            values = {run.seed: run.metrics[key] for run in self.runs if key in run.metrics}
            summaries[key] = Summary(values, failed if of_new_images(key) else frozenset())
        return summaries

    def summary(self, key: str) -> Summary | None:
        """A metric over the seeds; None if no run has it."""
        return self.summaries.get(key)

    def median(self, key: str) -> float | None:
        """Over the runs that did not fail; None if there is none."""
        found = self.summary(key)
        return found.median if found and found.sound else None


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by everything but the seed, and name the groups apart.

    The reference of a model and phase is the run that its folder calls `seedN`, the phase without
    further options, or the only group. Other groups are named by what differs from it.
    """
    members: dict[tuple[Any, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        members.setdefault(tuple(run.settings.items()), []).append(run)
    families: dict[tuple[str, str], list[list[Run]]] = {}
    for same in members.values():
        families.setdefault((same[0].model, same[0].phase), []).append(same)
    return [group for _, family in sorted(families.items()) for group in _named(family)]


def families(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups of each model and phase, which `group_runs` puts side by side."""
    return [list(family) for _, family in groupby(groups, lambda each: (each.model, each.phase))]


def standing_for(family: Sequence[Group]) -> Group:
    """The group that stands for its model and phase: the reference, or the one of most runs."""
    return max(family, key=lambda group: (group.reference, len(group.runs)))


def _named(family: Sequence[list[Run]]) -> list[Group]:
    """The groups of one model and phase: the reference first, then in the order of settings."""
    settings = [same[0].settings for same in family]
    plain = [
        same[0].settings
        for same in family
        if any(run.path.resolve().name == f"seed{run.seed}" for run in same)
        and same[0].settings["sampler"] is None
    ]
    reference = plain[0] if len(plain) == 1 else None
    varied = varying(settings)
    found = []
    for own, same in zip(settings, family, strict=True):
        keys = [key for key in varied if reference is None or own[key] != reference[key]]
        model, phase = same[0].model, same[0].phase
        label = ", ".join([f"{model.upper()} {phase}", *(describe(key, own[key]) for key in keys)])
        alone = own is reference or len(family) == 1
        place = (own is not reference, [sortable(own[key]) for key in keys])
        found.append((place, Group(label, model, phase, own, tuple(same), alone)))
    return [group for _, group in sorted(found, key=lambda pair: pair[0])]


def measured(groups: Sequence[Group]) -> list[str]:
    """All metrics that some run has, in the order of `metrics.py`."""
    keys = {key for group in groups for key in group.summaries}
    return sorted(filter(is_measure, keys), key=order)


def bounds(groups: Sequence[Group]) -> tuple[dict[str, float], list[str]]:
    """Floors and ceilings, "floor/fid_lenet" and so on, and a note where runs disagree on one.

    They are the same for every run on a data set unless another classifier read the images.
    """
    found: dict[str, tuple[float, Run]] = {}
    notes = []
    for run in (run for group in groups for run in group.runs):
        for key, value in run.metrics.items():
            parts = key.split("/")
            name = next((part for part in parts[:-1] if part in BOUNDS), None)
            if name is None:
                continue
            parts.remove(name)
            first, where = found.setdefault("/".join([name, *parts]), (value, run))
            if not math.isclose(first, value, rel_tol=0.02, abs_tol=1e-3):
                notes.append(
                    f"{run.path}: its {key} is {value:.4g}, that of {where.path} {first:.4g}: not "
                    "measured by the same classifier: gen-models evaluate both again"
                )
    return {key: value for key, (value, _) in found.items()}, notes[:1]


def recreations(groups: Sequence[Group]) -> dict[str, float]:
    """What recreates test images without a model: name -> mean squared error, least first."""
    known: dict[str, float] = {}
    for group in groups:
        for key, name in NAMES.items():
            found = group.summary(f"{key}/mse")
            if found and found.median is not None:
                known.setdefault(name.format(group.settings.get("model.latent_dim")), found.median)
    return dict(sorted(known.items(), key=lambda item: item[1]))
