"""What the runs of an arm have measured, as far as a contrast needs it; `Missing` where not."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from gen_models.comparison.metrics import FID, metric, of_new_images
from gen_models.study.collect import Row, Table
from gen_models.study.definition import LEAST, Study

SPACES = "features/"  # the same distance in other feature spaces
SEARCHED = "inversion/"  # what the search for z finds
CONTROL, CONVERGED = "inversion/control_share", 0.05


class Missing(Exception):
    """Runs or metrics that a contrast needs are not there; the message says which."""


class Side(NamedTuple):
    """The runs of an arm by one metric."""

    arm: str
    label: str
    planned: tuple[int, ...]  # seeds
    values: dict[int, float]  # seed -> value of a run that counts by it
    failed: tuple[int, ...]  # seeds of runs that count as the worst in this metric
    left_out: tuple[int, ...] = ()  # seeds of runs whose search for codes has not converged

    @property
    def seeds(self) -> list[int]:
        """Of all runs that are there."""
        return sorted({*self.values, *self.failed})

    @property
    def short(self) -> bool:
        """Whether runs of the study are still missing."""
        return len(self.seeds) < len(self.planned)

    @property
    def sound(self) -> list[float]:
        """The values of the runs that did not fail, by seed."""
        return [self.values[seed] for seed in sorted(self.values)]

    @property
    def median(self) -> float:
        """Of the runs that did not fail; NaN if all did."""
        return float(np.median(self.sound)) if self.values else math.nan

    def scores(self, key: str, scale: float = 1.0) -> list[float]:
        """Each run's number, by seed, of which the lower is the better; inf for a failed run."""
        sign = scale * improvement(key)
        return [
            sign * self.values[seed] if seed in self.values else math.inf for seed in self.seeds
        ]


class Evidence(NamedTuple):
    """What the rules read."""

    study: Study
    table: Table  # as `of_study` gives it

    def side(self, arm: str, key: str) -> Side:
        """The runs of an arm by a metric.

        Raises:
            Missing: There are too few, or one was not measured so.
        """
        rows = self.rows(arm)
        planned, label = tuple(self.study.arms[arm].seeds), self.study.arms[arm].label
        count = f"{len(rows)} of {len(planned)} runs"
        left_out: tuple[int, ...] = ()
        if key.startswith(SEARCHED):
            left_out = tuple(row.run[1] for row in rows if not (row.failed or converged(row)))
            rows = [row for row in rows if row.run[1] not in left_out]
            planned = tuple(seed for seed in planned if seed not in left_out)
            if left_out:
                count += f", {len(left_out)} of them without a search that has converged"
        if len(rows) < LEAST:
            raise Missing(f"{label}: {count}, at least {LEAST} are needed")
        worst = [row for row in rows if (row.failed if of_new_images(key) else row.diverged)]
        failed = tuple(row.run[1] for row in worst)
        values = {row.run[1]: row.metrics.get(key, math.nan) for row in rows if row not in worst}
        for seed, value in values.items():
            if not math.isfinite(value):
                raise Missing(f"{label}: {key} is not measured for seed {seed}")
        return Side(arm, label, planned, values, failed, left_out)

    def rows(self, arm: str) -> list[Row]:
        """The runs of an arm."""
        return [row for row in self.table.rows if row.run[0] == arm]

    def color(self, arm: str) -> int:
        """The place of an arm's model among the models of the study."""
        models = {row.run[0]: row.record["model"] for row in self.table.rows}
        return sorted(set(models.values())).index(models[arm])

    def gaussian(self, key: str) -> float:
        """What a Gaussian on principal components of pixels has.

        Raises:
            Missing: No run says it.
        """
        for row in self.table.rows:
            if f"gaussian/{key}" in row.metrics:
                return row.metrics[f"gaussian/{key}"]
        raise Missing(f"{key} of the PCA Gaussian is not measured")

    def errors(self, side: Side, key: str) -> np.ndarray:
        """The errors of each image, (runs, images); inf for a run that diverged.

        Raises:
            Missing: A run has none.
        """
        by_seed = {seed: self.table.images.get(f"{side.arm}/{seed}/{key}") for seed in side.seeds}
        count = next((len(errors) for errors in by_seed.values() if errors is not None), 0)
        for seed, errors in by_seed.items():
            if not count or (errors is None and seed not in side.failed):
                raise Missing(f"{side.label}: no {key} by image for seed {seed}")
        lost = np.full(count, math.inf)
        return np.array([lost if errors is None else errors for errors in by_seed.values()])


def converged(row: Row) -> bool:
    """Whether recreation by search counts: the model's own images are recreated nearly exactly.

    The error of a search that has not converged is too large, by an unknown part.
    """
    return row.metrics.get(CONTROL, math.inf) <= CONVERGED


def in_common(*sides: Side) -> list[Side]:
    """The sides with the seeds that both have.

    Raises:
        Missing: Those are too few.
    """
    seeds = set(sides[0].seeds).intersection(*(side.seeds for side in sides))
    if len(seeds) < LEAST:
        labels = " and ".join(side.label for side in sides)
        raise Missing(f"{labels}: {len(seeds)} seeds in common, at least {LEAST} are needed")
    planned = set(sides[0].planned).intersection(*(side.planned for side in sides))
    return [
        side._replace(
            planned=tuple(sorted(planned)),
            values={seed: value for seed, value in side.values.items() if seed in seeds},
            failed=tuple(seed for seed in side.failed if seed in seeds),
        )
        for side in sides
    ]


def agreement(evidence: Evidence) -> dict[str, float]:
    """How far the same distance in other features puts the arms in the order of `fid_lenet`.

    Returns:
        Feature space -> Spearman's rank correlation of the arms' medians (of the runs that did not
        fail), in [-1, 1], if all arms that have runs were measured in it, and are three or more.
    """
    arms = map(evidence.rows, evidence.study.arms)
    sound = (
        [row.metrics for row in rows if not row.failed and FID in row.metrics] for rows in arms
    )
    runs = [arm for arm in sound if arm]
    if len(runs) < LEAST:
        return {}

    def medians(key: str) -> list[float]:
        return [float(np.median([run.get(key, math.nan) for run in arm])) for arm in runs]

    spaces = sorted({key for arm in runs for run in arm for key in run if key.startswith(SPACES)})
    ranks = {key: float(spearmanr(medians(FID), medians(key))[0]) for key in spaces}
    return {key.removeprefix(SPACES): rank for key, rank in ranks.items() if math.isfinite(rank)}


def improvement(key: str) -> int:
    """1 for a metric of which the lower is better, else -1."""
    return -1 if metric(key).better == "higher" else 1
