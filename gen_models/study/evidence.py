"""What the runs of an arm have measured, as far as a contrast needs it; `Missing` where not."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import spearmanr

from gen_models.analysis.groups import Summary, bounds
from gen_models.analysis.metrics import (
    CONTROL,
    CONVERGED,
    ENCODER,
    FID,
    INVERSION,
    of_new_images,
)
from gen_models.analysis.runs import Run
from gen_models.analysis.statistics import LEAST
from gen_models.study.definition import Study
from gen_models.study.table import Table

SPACES = "features/"  # the same distance in other feature spaces
SEARCHED = "inversion/"  # what the search for z finds


class Missing(Exception):
    """Runs or metrics that a contrast needs are not there; the message says which."""


@dataclass(frozen=True)
class Side(Summary):
    """The runs of an arm by one metric."""

    arm: str = ""
    label: str = ""  # its name on the page
    planned: Sequence[int] = ()  # seeds that the study names
    left_out: Sequence[int] = ()  # seeds of runs whose search for codes has not converged
    # Seeds of runs whose value is only a bound of the true one: a search's error that could be
    # smaller, or a cost that could be larger.
    bounded: Sequence[int] = ()

    @property
    def incomplete(self) -> bool:
        """Whether runs of the study are still missing."""
        return len(self.values) < len(self.planned)


@dataclass(frozen=True)
class Evidence:
    """The runs of a study, as the rules of its claims read them.

    What is measured of an arm is `Missing` if it has too few runs, or one was not measured so.
    """

    study: Study
    table: Table  # as `of_study` gives it

    @cached_property
    def bounds(self) -> dict[str, float]:
        """What real images and crude models reach: "floor/fid_lenet", "gaussian/fid_lenet", ..."""
        return bounds(self.table.rows)[0]

    def side(self, arm: str, key: str, *, unconverged: bool = False) -> Side:
        """The runs of an arm by a metric.

        If `unconverged`, a search that has not converged counts too, with the error it found.
        """
        rows, label = self.rows(arm), self.study.arms[arm].label
        left_out, bounded = list[int](), list[int]()
        if key.startswith(SEARCHED):
            unfinished = [row.seed for row in rows if not (row.failed or converged(row))]
            left_out, bounded = ([], unfinished) if unconverged else (unfinished, [])
        planned = [seed for seed in self.study.arms[arm].seeds if seed not in left_out]
        rows = [row for row in rows if row.seed not in left_out]
        if len(rows) < LEAST:
            whose = " whose search for codes has converged" if left_out else ""
            count = f"{len(rows)} of {len(planned) + len(left_out)}"
            raise Missing(f"{label} needs at least {LEAST} runs{whose}, and has {count}")
        worst = {row.seed for row in rows if (row.failed if of_new_images(key) else row.diverged)}
        values = {row.seed: row.metrics.get(key, math.nan) for row in rows}
        for seed, value in values.items():
            if seed not in worst and not math.isfinite(value):
                raise Missing(f"{key} of {label} is not measured for seed {seed}")
        return Side(key, values, frozenset(worst), arm, label, planned, left_out, bounded)

    def at_distance(self, arm: str, key: str, distance: float) -> Side:
        """The runs of an arm by a cost, of images whose distance to real ones is at most this.

        It is the least cost of all numbers of steps that come so near. Where none does, it is the
        largest of all: images that are so near would cost more.
        """
        name = key.rpartition("/")[2]
        measured = [
            (self.side(arm, place + FID).values, self.side(arm, place + name).values)
            for place in self.study.arms[arm].by_steps
        ]
        side = self.side(arm, key)
        values, bounded = dict(side.values), list[int]()
        for seed in side.sound:
            near = [costs[seed] for distances, costs in measured if distances[seed] <= distance]
            values[seed] = min(near) if near else max(costs[seed] for _, costs in measured)
            bounded += [] if near else [seed]
        return replace(side, values=values, bounded=bounded)

    def gaussian(self, key: str) -> Side:
        """The crude Gaussian by a metric, as if it were a run of an arm."""
        if f"gaussian/{key}" not in self.bounds:
            raise Missing(f"{key} of the crude Gaussian is not measured")
        return Side(key, {0: self.bounds[f"gaussian/{key}"]}, label="a crude Gaussian")

    def sides(self, arms: Iterable[str], key: str) -> list[Side]:
        """The arms that have runs enough, by a metric."""
        sides = list[Side]()
        for arm in arms:
            with suppress(Missing):
                sides.append(self.side(arm, key))
        return sides

    def rows(self, arm: str) -> list[Run]:
        """The runs of an arm."""
        return [row for row in self.table.rows if row.record["arm"] == arm]

    def model(self, arm: str) -> str:
        """The model of an arm that has runs."""
        return self.rows(arm)[0].model

    def exact(self, arm: str) -> bool:
        """Whether z is as large as an image, so that any image is recreated without a search."""
        measured = [row.metrics for row in self.rows(arm) if ENCODER in row.metrics]
        return bool(measured) and all(INVERSION not in metrics for metrics in measured)

    def errors(self, side: Side) -> np.ndarray:
        """The errors of each image, (runs, images); inf for a run that diverged."""
        names = {seed: f"{side.arm}/{seed}/{side.key}" for seed in side.values}
        by_seed = {seed: self.table.images.get(name) for seed, name in names.items()}
        count = next((len(errors) for errors in by_seed.values() if errors is not None), 0)
        for seed, errors in by_seed.items():
            if not count or (errors is None and seed in side.sound):
                raise Missing(f"{side.key} by image of {side.label} is missing for seed {seed}")
        worst = [math.inf] * count
        return np.array([worst if errors is None else errors for errors in by_seed.values()])


def converged(row: Run) -> bool:
    """Whether recreation by search counts: the model's own images are recreated nearly exactly.

    The error of a search that has not converged is too large, by an unknown part.
    """
    return row.metrics.get(CONTROL, math.inf) <= CONVERGED


def in_common(one: Side, other: Side) -> list[Side]:
    """The sides with the seeds that both have; `Missing` if those are too few."""
    seeds = sorted(one.values.keys() & other.values.keys())
    if len(seeds) < LEAST:
        count = f"at least {LEAST} seeds in common, and have {len(seeds)}"
        raise Missing(f"{one.label} and {other.label} need {count}")
    planned = [seed for seed in one.planned if seed in other.planned]
    return [
        replace(side, values={seed: side.values[seed] for seed in seeds}, planned=planned)
        for side in (one, other)
    ]


def agreement(evidence: Evidence) -> dict[str, float]:
    """How far the same distance in other features puts the arms in the order of `fid_lenet`.

    Returns:
        Feature space -> Spearman's rank correlation of the arms' medians (of the runs that did not
        fail), in [-1, 1], if all arms that have runs were measured in it, and are four or more.
    """
    arms = map(evidence.rows, evidence.study.arms)
    sound = [[r.metrics for r in rows if not r.failed and FID in r.metrics] for rows in arms]
    measured = [runs for runs in sound if runs]
    if len(measured) < LEAST:
        return {}

    def medians(key: str) -> list[float]:
        return [float(np.median([run.get(key, math.nan) for run in runs])) for runs in measured]

    names = {key for runs in measured for run in runs for key in run if key.startswith(SPACES)}
    ranks = {key: float(spearmanr(medians(FID), medians(key))[0]) for key in sorted(names)}
    return {key.removeprefix(SPACES): rank for key, rank in ranks.items() if math.isfinite(rank)}
