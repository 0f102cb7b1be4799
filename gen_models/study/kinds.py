"""The kinds of contrast: each a rule that says how two arms compare by one metric.

Every rule gives theta and the p of theta = 1/2. `answer.py` combines the parts of a claim; the
tests are in `analysis/statistics.py`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from gen_models.analysis import statistics
from gen_models.analysis.metrics import FID, metric
from gen_models.analysis.statistics import LEAST, Interval, Superiority
from gen_models.study.definition import Contrast
from gen_models.study.evidence import SPACES, Evidence, Missing, Side, in_common

INSIDE = 0.90  # confidence of the interval that has to lie within `at_most`


class Part(NamedTuple):
    """An arm against another, or against the crude Gaussian, by one metric."""

    contrast: Contrast
    one: Side
    other: Side | None  # None: no run of the one may fail, whatever others do
    test: Superiority
    paired: bool = False
    change: Interval | None = None  # how much better, a share of the other, without failed runs
    fits: bool | None = None  # whether it is as much as the claim's word says; None: no word
    spaces: dict[str, Interval] = {}  # other feature spaces -> theta

    @property
    def metric(self) -> str:
        """The metric by which the first arm is compared."""
        return self.one.key

    @property
    def sides(self) -> list[Side]:
        """What is compared, one or two."""
        return [side for side in (self.one, self.other) if side]

    @property
    def arms(self) -> list[Side]:
        """The arms that are compared: not the crude Gaussian."""
        return [side for side in self.sides if side.arm]

    @property
    def supports(self) -> bool:
        """Whether theta is on the claim's side of 1/2."""
        if self.contrast.kind == "none_fails":
            return not self.one.lost
        negative = self.contrast.kind.startswith("not_")
        return self.test.theta < 0.5 if negative else self.test.theta > 0.5

    @property
    def tied(self) -> bool:
        """Whether neither is better, as where all runs of both failed."""
        return math.isclose(self.test.theta, 0.5) and self.contrast.kind != "none_fails"

    @property
    def depends(self) -> list[str]:
        """The feature spaces that decide the other way: their interval leaves out 1/2."""
        above = self.test.theta > 0.5
        return [
            space
            for space, (_, low, high) in self.spaces.items()
            if not self.tied and (high < 0.5 if above else low > 0.5)
        ]


class Kind(NamedTuple):
    """A kind of contrast: its rule, and what the rule takes."""

    rule: Callable[[Evidence, Contrast, str, str, str], Part]  # by a metric, one arm, another
    least: int  # number of arms
    options: tuple[str, ...] = ()  # keys of `Contrast` that it reads, besides those of every kind


def parts(evidence: Evidence, contrast: Contrast, key: str) -> list[Part]:
    """What a contrast says by one metric: each arm against the last, or each arm by itself.

    If the first is said to be the best, it is compared with each of the others. The part against
    the best of these comes first: the claim's word is of that part alone.

    Raises:
        Missing: Runs or metrics that it needs are not there.
    """
    rule, least, _ = KINDS[contrast.kind]
    first, *rest = contrast.arms
    if contrast.kind != "best":
        arms = contrast.arms if least == 1 else contrast.arms[:-1]
        return [rule(evidence, contrast, key, arm, contrast.arms[-1]) for arm in arms]

    def rank(part: Part) -> tuple[float, float]:
        """The lower, the better is the other."""
        other = part.other
        known = metric(key).rank(other.median) if other and other.sound else math.inf
        return part.test.theta, known

    compared = [rule(evidence, contrast, key, first, other) for other in rest]
    closest, *others = sorted(compared, key=rank)
    return [closest, *(part._replace(fits=None) for part in others)]


def better(evidence: Evidence, contrast: Contrast, key: str, arm: str, last: str) -> Part:
    """One arm is better than another, paired where both are the same runs."""
    paired = evidence.study.root(arm) == evidence.study.root(last)
    scale = 1 - _direction(key) * contrast.margin

    def sides(own: str, other_key: str) -> list[Side]:
        both = [evidence.side(arm, own), evidence.side(last, other_key)]
        return in_common(*both) if paired else both

    def compare_in(space: str) -> Interval:
        one, other = sides(space, space)
        return interval(one.scores(), other.scores(scale))

    one, other = sides(key, contrast.other_metric or key)
    if contrast.margin and min(other.sound.values(), default=1.0) <= 0:
        raise Missing(f"{key} of {other.label} is not above 0, so no share of it is a margin")
    compare = statistics.paired_superiority if paired else statistics.superiority
    interval = statistics.share_of_pairs_won if paired else statistics.superiority_interval
    test = compare(one.scores(), other.scores(scale))
    change = _change(one, other, paired)
    fits = _fits(contrast, one, other, paired) if contrast.word else None
    spaces = _in_other_spaces(evidence, key, arm, compare_in)
    return Part(contrast, one, other, test, paired=paired, change=change, fits=fits, spaces=spaces)


def wins(evidence: Evidence, contrast: Contrast, key: str, arm: str, last: str) -> Part:
    """One arm recreates the same images better than another, image by image.

    A search of the other that has not converged finds too large an error, so it may count against
    the claim and never for it.
    """
    one, own = evidence.side(arm, key), contrast.other_metric or key
    other = evidence.side(last, own, unconverged=contrast.unconverged)
    test = statistics.share_won(evidence.errors(one), evidence.errors(other))
    if other.bounded and test.theta > 0.5:
        other = evidence.side(last, own)
        test = statistics.share_won(evidence.errors(one), evidence.errors(other))
    fits = test.low > contrast.at_least if contrast.word else None
    return Part(contrast, one, other, test, fits=fits)


def beats_gaussian(evidence: Evidence, contrast: Contrast, key: str, arm: str, _: str) -> Part:
    """One arm is better than the crude Gaussian."""

    def compare(own: str) -> Superiority:
        side, (constant,) = evidence.side(arm, own), evidence.gaussian(own).scores()
        return statistics.against_constant(side.scores(), constant)

    one, other, test = evidence.side(arm, key), evidence.gaussian(key), compare(key)
    spaces = _in_other_spaces(evidence, key, arm, compare)
    # The Gaussian is made of pixels: those are no bound.
    spaces = {name: each for name, each in spaces.items() if not name.startswith("pixels")}
    return Part(contrast, one, other, test, spaces=spaces)


def cheaper(evidence: Evidence, contrast: Contrast, key: str, arm: str, last: str) -> Part:
    """One arm makes images at less cost than another, whose distance is no larger.

    The distance is the median of the first arm's runs; the other takes as few steps as reach it.
    A run of which only a bound of that cost is known counts with the bound where this supports the
    claim, and else as if its cost had no end.
    """
    one, scale = evidence.side(arm, key), 1 - contrast.margin
    other = evidence.at_distance(last, key, evidence.side(arm, FID).median)
    test = statistics.superiority(_costs(one), _costs(other, scale))
    if other.bounded and test.theta <= 0.5:
        endless = replace(other, failed=other.failed.union(other.bounded))
        test = statistics.superiority(_costs(one), _costs(endless, scale))
        if test.theta > 0.5:
            seeds = ", ".join(map(str, other.bounded))
            raise Missing(f"more steps of {other.label} have to be measured for seed {seeds}")
    return Part(contrast, one, other, test, change=_change(one, other, paired=False))


def none_fails(evidence: Evidence, contrast: Contrast, key: str, arm: str, _: str) -> Part:
    """No run of an arm failed.

    One that did contradicts it for certain. If none did, p is the sign test's of whether fewer than
    half of the runs would fail.
    """
    one = evidence.side(arm, key)
    test = statistics.against_constant([float(seed in one.lost) for seed in one.values], 0.5)
    return Part(contrast, one, None, test._replace(p=0.0) if one.lost else test)


BETTER = ("margin", "at_least", "at_most", "other_metric")
KINDS = {
    "better": Kind(better, 2, BETTER),
    "not_better": Kind(better, 2, BETTER),  # by the margin or more
    "best": Kind(better, 2, ("at_least", "at_most")),
    "wins": Kind(wins, 2, ("at_least", "other_metric", "unconverged")),
    "beats_gaussian": Kind(beats_gaussian, 1),
    "not_beats_gaussian": Kind(beats_gaussian, 1),
    "cheaper": Kind(cheaper, 2, ("margin",)),
    "none_fails": Kind(none_fails, 1),
}


def _in_other_spaces(
    evidence: Evidence, key: str, arm: str, compare: Callable[[str], Sequence[float]]
) -> dict[str, Interval]:
    """Theta in the other feature spaces in which the runs of an arm are measured."""
    names = {name for row in evidence.rows(arm) for name in row.metrics if name.startswith(SPACES)}
    spaces = {}
    for name in sorted(names if key == FID else ()):
        with suppress(Missing):
            spaces[name.removeprefix(SPACES)] = Interval(*compare(name)[:3])
    return spaces


def _change(
    one: Side, other: Side, paired: bool, confidence: float = statistics.CONFIDENCE
) -> Interval | None:
    """The share by which one is better than the other, of the runs that did not fail."""
    seeds = [seed for seed in one.sound if seed in other.sound]
    first, second = (
        [side.sound[seed] for seed in (seeds if paired else side.sound)] for side in (one, other)
    )
    if min(len(first), len(second)) < LEAST or min(second) <= 0:
        return None
    change = statistics.reduction(first, second, paired=paired, confidence=confidence)
    if _direction(one.key) == 1:
        return change
    return Interval(-change.value, -change.high, -change.low)


def _fits(contrast: Contrast, one: Side, other: Side, paired: bool) -> bool | None:
    """Whether the difference is as large, or as small, as the claim's word says."""
    if contrast.at_least:  # by medians
        if not (one.sound and other.sound):
            return None
        if other.median <= 0:
            return False
        return _direction(one.key) * (1 - one.median / other.median) >= contrast.at_least
    interval = _change(one, other, paired, INSIDE)
    return interval is not None and interval.low >= 0 and interval.high <= contrast.at_most


def _costs(side: Side, scale: float = 1.0) -> list[float]:
    """What each run costs, inf if it diverged."""
    return [scale * side.sound.get(seed, math.inf) for seed in side.values]


def _direction(key: str) -> int:
    """1 for a metric of which the lower is better, else -1."""
    return -1 if metric(key).better == "higher" else 1
