"""Runs that differ only by their seed: a group with a name, and a summary of each metric."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
from gen_models.analysis.settings import describe, sortable, varying
from gen_models.runs.identity import model_title


@dataclass(frozen=True)
class Summary:
    """One metric of several runs.

    Attributes:
        key: The metric.
        values: Seed -> value; NaN where the run diverged.
        failed: Seeds of the runs that count as the worst by it.
        latent_dim: How many numbers z has, where that matters: an error of recreation is the
            smaller the more there are.
    """

    key: str
    values: dict[int, float]
    failed: frozenset[int] = frozenset()
    latent_dim: int | None = field(default=None, kw_only=True)

    @property
    def finite(self) -> list[float]:
        """The values that are finite, of failed runs too, by seed."""
        return [value for value in self.values.values() if math.isfinite(value)]

    @cached_property
    def sound(self) -> dict[int, float]:
        """Seed -> finite value of a run that did not fail."""
        return {
            seed: value
            for seed, value in self.values.items()
            if seed not in self.failed and math.isfinite(value)
        }

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
        text, remarks = (
            metric(self.key).show(self.median),
            [*filter(None, (self.size, self.failures))],
        )
        return f"{text} ({'; '.join(remarks)})" if remarks else text

    @property
    def ends(self) -> str:
        """The least and the most of all runs, "8.10 to 16.50"; "" if they are the same."""
        ends = [metric(self.key).show(end(self.finite)) for end in (min, max) if self.finite]
        return " to ".join(ends) if len(set(ends)) > 1 else ""

    def scores(self, scale: float = 1.0, real: float | None = None) -> list[float]:
        """A number of each run, by seed, of which the lower is the better; inf if it failed.

        Each is multiplied by `scale`. `real` is the metric of real images, as in `Metric.rank`.
        """
        known, sound = metric(self.key), self.sound
        return [
            scale * known.rank(sound[seed], real) if seed in sound else math.inf
            for seed in self.values
        ]


@dataclass(frozen=True)
class Group:
    """Runs that differ only by their seed."""

    label: str  # "GAN final, lr 0.0005"
    runs: tuple[Run, ...]  # by seed, one or more
    reference: bool = False  # the phase without further options, or the only group of its phase

    @property
    def model(self) -> str:
        """The name of the model of its runs."""
        return self.runs[0].model

    @property
    def phase(self) -> str:
        """The phase of its runs."""
        return str(self.runs[0].record["phase"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its runs share."""
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
    by_phase: dict[tuple[str, str], list[list[Run]]] = {}
    for same in members.values():
        by_phase.setdefault((same[0].model, same[0].record["phase"]), []).append(same)
    return [group for _, family in sorted(by_phase.items()) for group in _named(family)]


def families(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups of each model and phase, which `group_runs` puts side by side."""
    return [list(family) for _, family in groupby(groups, lambda each: (each.model, each.phase))]


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
    groups = []
    for own, same in zip(settings, family, strict=True):
        keys = [k for k in varied if reference is None or own.get(k) != reference.get(k)]
        head = f"{model_title(same[0].model)} {same[0].record['phase']}"
        label = ", ".join([head, *(describe(key, own.get(key)) for key in keys)])
        alone = own is reference or len(family) == 1
        place = (own is not reference, [sortable(own.get(key)) for key in keys])
        groups.append((place, Group(label, tuple(same), alone)))
    return [group for _, group in sorted(groups, key=lambda pair: pair[0])]


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
            parts = key.split("/")
            name = next((part for part in parts[:-1] if part in BOUNDS), None)
            if name is None:
                continue
            parts.remove(name)
            known, other = first.setdefault("/".join([name, *parts]), (value, run))
            if not math.isclose(known, value, rel_tol=0.02, abs_tol=1e-3):
                notes.append(
                    f"{run.path}: its {key} is {value:.4g}, that of {other.path} {known:.4g}: not "
                    "measured by the same classifier: gen-models evaluate both again"
                )
    return {key: value for key, (value, _) in first.items()}, notes[:1]
