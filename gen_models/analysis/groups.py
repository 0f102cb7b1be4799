"""Runs that differ only by their seed: a group with a name, and a summary of each metric."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from statistics import median
from typing import Any

from gen_models.analysis.metrics import (
    BOUNDS,
    LATENT_DIM,
    RECREATION,
    is_measure,
    metric,
    of_new_images,
    order,
)
from gen_models.analysis.runs import Run
from gen_models.analysis.settings import describe, short_name, sortable, varying
from gen_models.runs.identity import model_title


@dataclass(frozen=True)
class Summary:
    """One metric of several runs."""

    key: str
    values: dict[int, float]  # seed -> value; NaN where the run diverged
    failed: frozenset[int] = frozenset()  # seeds of the runs that count as the worst by it
    # numbers in z, of an error of recreation, which is the smaller the more there are
    latent_dim: int | None = field(default=None, kw_only=True)

    @property
    def finite(self) -> list[float]:
        """The values that are finite, of failed runs too, by seed."""
        return [value for value in self.values.values() if math.isfinite(value)]

    @cached_property
    def sound(self) -> dict[int, float]:
        """Seed -> finite value of a run that did not fail."""
        known = {seed: each for seed, each in self.values.items() if math.isfinite(each)}
        return {seed: each for seed, each in known.items() if seed not in self.failed}

    @cached_property
    def lost(self) -> list[int]:
        """The seeds of the runs that failed or diverged."""
        return [seed for seed in self.values if seed not in self.sound]

    @property
    def unsound(self) -> list[float]:
        """The finite values of the runs that failed."""
        return [self.values[seed] for seed in self.lost if math.isfinite(self.values[seed])]

    @property
    def median(self) -> float:
        """The median of the sound runs, or of all if every run failed; NaN if all diverged."""
        return float(median([*self.sound.values()] or self.finite or [math.nan]))

    @property
    def failures(self) -> str:
        """How many runs failed: "1 of 3 failed", "1 of 3 diverged"; "" if none."""
        diverged = len(self.values) - len(self.finite)
        word = "diverged" if diverged == len(self.lost) else "failed"
        return f"{len(self.lost)} of {len(self.values)} {word}" if self.lost else ""

    @property
    def size(self) -> str:
        """The dimension of z for a person: "z of 100 numbers"; "" where it does not matter."""
        return f"z of {self.latent_dim:,} numbers" if self.latent_dim else ""

    @property
    def text(self) -> str:
        """The median for a person, marked where runs failed: "8.00 (1 of 3 failed)"."""
        text = metric(self.key).show(self.median)
        remarks = "; ".join(filter(None, (self.size, self.failures)))
        return f"{text} ({remarks})" if remarks else text

    @property
    def ends(self) -> str:
        """The least and the most of all runs, "8.10 to 16.50", or "8.10" if they are the same."""
        ends = [metric(self.key).show(end(self.finite)) for end in (min, max) if self.finite]
        return " to ".join(dict.fromkeys(ends))

    def scores(self, scale: float = 1.0, real: float | None = None) -> list[float]:
        """`scale` times `Metric.rank` of each run, by seed; inf if it failed."""
        known = metric(self.key)
        ranks = {seed: scale * known.rank(value, real) for seed, value in self.sound.items()}
        return [ranks.get(seed, math.inf) for seed in self.values]


@dataclass(frozen=True)
class Group:
    """Runs that differ only by their seed."""

    label: str  # "GAN final, lr 0.0005"
    runs: tuple[Run, ...]  # by seed, one or more
    reference: bool = False  # the phase without further options; all groups where none is

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.runs[0].model

    @property
    def phase(self) -> str:
        """The phase of its runs."""
        return str(self.runs[0].record["phase"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of all its runs."""
        return self.runs[0].settings

    @property
    def latent_dim(self) -> int | None:
        """How many numbers its z has; None where no run has recorded it."""
        values = (run.metrics.get(LATENT_DIM, math.nan) for run in self.runs)
        return next((int(value) for value in values if math.isfinite(value)), None)

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.failed]

    @property
    def measured(self) -> list[Run]:
        """The runs that were measured, or diverged."""
        return [run for run in self.runs if run.measured]

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Every number that some run has; a failure counts in metrics of new images alone."""
        failed, summaries = frozenset(run.seed for run in self.failed), {}
        for key in {key: None for run in self.runs for key in run.metrics}:
            values = {run.seed: run.metrics[key] for run in self.runs if key in run.metrics}
            worst = failed if of_new_images(key) else frozenset()
            size = self.latent_dim if RECREATION.fullmatch(key) else None
            summaries[key] = Summary(key, values, worst, latent_dim=size)
        return summaries


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by everything but the seed, and name the groups apart.

    The reference of a model and phase is the run that its folder calls `seedN`, the phase without
    further options, or the only group. Other groups are named by what differs from it.
    """
    members: dict[tuple[Any, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        members.setdefault(tuple(run.settings.items()), []).append(run)
    groups = [Group("", tuple(same)) for same in members.values()]
    groups.sort(key=lambda group: (group.model, group.phase))
    return [group for family in families(groups) for group in _named(family)]


def families(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups of each model and phase, which `group_runs` puts side by side."""
    return [list(family) for _, family in groupby(groups, lambda each: (each.model, each.phase))]


def _named(family: Sequence[Group]) -> list[Group]:
    """The groups of one model and phase: the reference first, then in the order of settings."""
    plain = [
        group
        for group in family
        if any(run.path.resolve().name == f"seed{run.seed}" for run in group.runs)
        and group.settings.get("sampler") is None
    ]
    reference = plain[0] if len(plain) == 1 else None
    varied = sorted(varying([group.settings for group in family]), key=short_name)
    named = []
    for group in family:
        own = group.settings
        keys = [k for k in varied if not reference or own.get(k) != reference.settings.get(k)]
        words = filter(None, (describe(key, own.get(key)) for key in keys))
        label = ", ".join([f"{model_title(group.model)} {group.phase}", *words])
        place = group is not reference, [sortable(own.get(key)) for key in keys]
        first = reference is None or group is reference
        named.append((place, replace(group, label=label, reference=first)))
    return [group for _, group in sorted(named, key=lambda pair: pair[0])]


def measured(groups: Sequence[Group]) -> list[str]:
    """All metrics that some run has, in the order of `metrics.csv`."""
    keys = {key for group in groups for key in group.summaries}
    return sorted(filter(is_measure, keys), key=order)


def bounds(runs: Iterable[Run]) -> tuple[dict[str, float], list[str]]:
    """Floors and ceilings, "floor/fid_lenet" and so on, and a note where runs disagree on one.

    They are the same for every run on a data set unless another classifier read the images.
    """
    first: dict[str, tuple[float, Run]] = {}
    notes = []
    for run in runs:
        for key, value in run.metrics.items():
            for name in BOUNDS.keys() & set(key.split("/")[:-1]):
                bound = f"{name}/{key.replace(f'{name}/', '', 1)}"
                known, other = first.setdefault(bound, (value, run))
                if not math.isclose(known, value, rel_tol=0.02, abs_tol=1e-3):
                    notes.append(
                        f"{run.path}: its {key} is {value:.4g}, that of {other.path} {known:.4g}: "
                        "not measured by the same classifier: gen-models evaluate both again"
                    )
    return {key: value for key, (value, _) in first.items()}, notes[:1]
