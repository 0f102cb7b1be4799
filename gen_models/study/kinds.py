"""The kinds of contrast: each a rule that says how arms compare by one metric.

Every rule gives, for each of its parts, theta and the p of theta = 1/2, and on which side of it the
claim is. What a claim makes of its parts stands in `answer.py`, the tests in
`comparison/statistics.py`.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from gen_models.comparison import statistics
from gen_models.comparison.metrics import FID
from gen_models.comparison.statistics import Interval, Superiority
from gen_models.study.definition import LEAST, Contrast
from gen_models.study.evidence import (
    SPACES,
    Evidence,
    Missing,
    Side,
    improvement,
    in_common,
)

INSIDE = 0.90  # confidence of the interval that has to lie within `at_most`


class Part(NamedTuple):
    """An arm against another, or against a number, by one metric."""

    contrast: Contrast
    metric: str
    one: Side
    other: Side | None  # None: the one is compared with `constant`
    test: Superiority
    supports: bool  # theta is on the claim's side of 1/2
    constant: float = math.nan
    paired: bool = False
    change: Interval | None = None  # how much better, a share of the other, without failed runs
    fits: bool | None = None  # whether it is as much as the claim's word says; None: no word
    spaces: dict[str, Interval] = {}  # other feature spaces -> theta

    @property
    def tied(self) -> bool:
        """Whether neither is better, as where all runs of both failed."""
        return math.isclose(self.test.theta, 0.5)

    @property
    def depends(self) -> list[str]:
        """The feature spaces that decide the other way: their interval leaves out 1/2."""
        above = self.test.theta > 0.5
        return [
            space
            for space, (_, low, high) in self.spaces.items()
            if not self.tied and (high < 0.5 if above else low > 0.5)
        ]

    @property
    def interim(self) -> bool:
        """Whether runs of the study are still missing."""
        sides = (side for side in (self.one, self.other) if side)
        return any(side.short for side in sides)


Rule = Callable[[Contrast, str, Evidence], list[Part]]


def better(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """Each arm is better than the last."""
    return [_compare(contrast, key, arm, evidence) for arm in contrast.arms[:-1]]


def not_better(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """No arm is better than the last by the margin or more."""
    parts = [_compare(contrast, key, arm, evidence) for arm in contrast.arms[:-1]]
    return [part._replace(supports=part.test.theta < 0.5) for part in parts]


def best(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """The first arm is better than each other one; the part against the best of these is first.

    The claim's word is of that part alone.
    """
    one, *others = contrast.arms
    parts = [_compare(contrast, key, one, evidence, against=other) for other in others]
    first, *rest = sorted(parts, key=lambda part: (part.test.theta, _rival(part)))
    return [first, *(part._replace(fits=None) for part in rest)]


def wins(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """Each arm recreates the same images better than the last, image by image."""
    *firsts, last = contrast.arms
    other_key = contrast.other_metric or key
    parts = []
    for arm in firsts:
        one, other = evidence.side(arm, key), evidence.side(last, other_key)
        test = statistics.share_won(evidence.errors(one, key), evidence.errors(other, other_key))
        fits = test.low > contrast.at_least if contrast.word else None
        parts.append(Part(contrast, key, one, other, test, test.theta > 0.5, fits=fits))
    return parts


def beats_gaussian(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """Each arm is better than the PCA Gaussian."""

    def compare(arm: str, own: str) -> tuple[Side, float, Superiority]:
        one, constant = evidence.side(arm, own), evidence.gaussian(own)
        result = statistics.against_constant(one.scores(key), improvement(key) * constant)
        return one, constant, result

    parts = []
    for arm in contrast.arms:
        one, constant, test = compare(arm, key)
        spaces = {}
        for space, name in _other_spaces(key, arm, evidence):
            with suppress(Missing):
                if not space.startswith("pixels"):  # of which the Gaussian is made: no bound
                    spaces[space] = Interval(*compare(arm, name)[2][:3])
        parts.append(
            Part(contrast, key, one, None, test, test.theta > 0.5, constant, spaces=spaces)
        )
    return parts


def not_beats_gaussian(contrast: Contrast, key: str, evidence: Evidence) -> list[Part]:
    """No arm is better than the PCA Gaussian."""
    parts = beats_gaussian(contrast, key, evidence)
    return [part._replace(supports=part.test.theta < 0.5) for part in parts]


RULES: dict[str, Rule] = {
    "better": better,
    "not_better": not_better,
    "best": best,
    "wins": wins,
    "beats_gaussian": beats_gaussian,
    "not_beats_gaussian": not_beats_gaussian,
}


def _rival(part: Part) -> float:
    """The median that an arm is compared with, of which the lower is the better."""
    assert part.other is not None
    return improvement(part.metric) * part.other.median if part.other.values else math.inf


def _compare(
    contrast: Contrast, key: str, arm: str, evidence: Evidence, *, against: str = ""
) -> Part:
    """One arm against the last, paired where both are the same runs."""
    last = against or contrast.arms[-1]
    paired = evidence.study.shares_runs(arm, last)
    scale = 1 - improvement(key) * contrast.margin

    def sides(own: str, other_key: str) -> list[Side]:
        both = [evidence.side(arm, own), evidence.side(last, other_key)]
        return in_common(*both) if paired else both

    one, other = sides(key, contrast.other_metric or key)
    if contrast.margin and min(other.sound, default=1.0) <= 0:
        raise Missing(f"{other.label}: {key} is not above 0, so no share of it is a margin")
    compare = statistics.paired_superiority if paired else statistics.superiority
    test = compare(one.scores(key), other.scores(key, scale))
    spaces = {}
    for space, name in _other_spaces(key, arm, evidence):
        with suppress(Missing):
            pair = sides(name, name)
            spaces[space] = _theta(pair[0].scores(key), pair[1].scores(key, scale), paired)
    return Part(
        contrast,
        key,
        one,
        other,
        test,
        test.theta > 0.5,
        paired=paired,
        change=_change(key, one, other, paired),
        fits=_fits(contrast, key, one, other, paired),
        spaces=spaces,
    )


def _theta(one: list[float], other: list[float], paired: bool) -> Interval:
    """How often the one is better, with its interval and without a test."""
    if not paired:
        return statistics.superiority_interval(one, other)
    return statistics.wilson_interval(
        statistics.share_of_pairs_won(one, other) * len(one), len(one)
    )


def _change(
    key: str, one: Side, other: Side, paired: bool, confidence: float = statistics.CONFIDENCE
) -> Interval | None:
    """By which share of the other the one is better, of the runs that did not fail."""
    if paired:
        both = sorted(one.values.keys() & other.values.keys())
        pair = [[side.values[seed] for seed in both] for side in (one, other)]
    else:
        pair = [one.sound, other.sound]
    if min(map(len, pair)) < LEAST or min(pair[1]) <= 0:
        return None
    estimate = statistics.paired_reduction if paired else statistics.reduction
    change = estimate(pair[0], pair[1], confidence)
    return change if improvement(key) == 1 else Interval(-change.value, -change.high, -change.low)


def _fits(contrast: Contrast, key: str, one: Side, other: Side, paired: bool) -> bool | None:
    """Whether the difference is as large, or as small, as the claim's word says."""
    if not contrast.word:
        return None
    if contrast.at_least:  # by medians
        if not (one.values and other.values):
            return None
        if other.median <= 0:
            return False
        change = improvement(key) * (1 - one.median / other.median)
        return change >= contrast.at_least
    interval = _change(key, one, other, paired, INSIDE)
    return interval is not None and interval.low >= 0 and interval.high <= contrast.at_most


def _other_spaces(key: str, arm: str, evidence: Evidence) -> list[tuple[str, str]]:
    """The same distance in other feature spaces: (name, metric)."""
    names = {name for row in evidence.rows(arm) for name in row.metrics if name.startswith(SPACES)}
    return [(name.removeprefix(SPACES), name) for name in sorted(names) if key == FID]
