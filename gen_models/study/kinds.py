"""The kinds of contrast: each a rule that says how groups of runs compare by one metric.

"Supported": the 95 % interval of the difference excludes 0 in the claimed direction;
"contradicted": in the other; else not distinguishable with so many seeds. Intervals are Welch's
over seeds, or of pairs: by seed where runs share their first epochs, by image where both recreate
the same ones. Last epoch's weights; not corrected for the number of claims.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gen_models.comparison.metrics import BOUNDS, metric
from gen_models.comparison.statistics import Estimate, mean, paired, welch
from gen_models.comparison.table import Group
from gen_models.comparison.verdicts import Outcome, Part, seeds
from gen_models.comparison.verdicts import in_words as difference_in_words
from gen_models.study.arms import Arm, Missing, in_words
from gen_models.study.definition import Contrast
from gen_models.study.evidence import (
    Bounds,
    check_same_images,
    evaluate,
    image_errors,
    references,
    summary,
)

CEILINGS = ("gaussian", "noise")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
SHOWN = ("", "references", "change")


class Side(NamedTuple):
    """An arm, and the group of runs that stands for it."""

    arm: Arm
    group: Group


Rule = Callable[[Contrast, str, Sequence[Side], Bounds], list[Part]]


class Kind(NamedTuple):
    """A rule, and how many arms it needs."""

    rule: Rule  # of a contrast, a metric, its sides, and the bounds; may raise Missing
    arms: int


def better(contrast: Contrast, key: str, sides: Sequence[Side], bounds: Bounds) -> list[Part]:
    """Each arm is better than the last, by more than the margin if there is one."""
    *firsts, other = sides
    return [_compare(contrast, key, one, other, improvement(key), bounds) for one in firsts]


def not_better(contrast: Contrast, key: str, sides: Sequence[Side], bounds: Bounds) -> list[Part]:
    """No arm is better than the last by the margin or more."""
    *firsts, other = sides
    parts = []
    for one in firsts:
        part = _compare(contrast, key, one, other, -improvement(key), bounds)
        first = summary(one.group, key).estimate
        second = summary(other.group, contrast.other_metric or key).estimate
        if part.difference and first and second:
            shown = f"{metric(key).show(first.value)} against {metric(key).show(second.value)}"
            part = part._replace(text=shown + _change(first, second))
        parts.append(part)
    return parts


def _compare(
    contrast: Contrast, key: str, one: Side, other: Side, claimed: int, bounds: Bounds
) -> Part:
    name = _name(contrast, one, other)
    first = summary(one.group, key)
    second = summary(other.group, contrast.other_metric or key)
    if first.diverged or second.diverged:
        diverged = one if first.diverged else other
        return Part(name, key, "not answered", f"{diverged.group.label} diverged")
    share = 1 + improvement(key) * contrast.margin
    limits = {seed: share * value for seed, value in second.values.items()}
    count = seeds(first, second)
    if contrast.paired:
        common = sorted(first.values.keys() & limits.keys())
        if not common:
            raise Missing([f"no seed in common: {one.group.label} and {other.group.label}"], [])
        difference = paired(*([found[seed] for seed in common] for found in (first.values, limits)))
        count = "one seed" if len(common) == 1 else f"{len(common)} seeds, paired"
    else:
        difference = welch(first.finite, list(limits.values()))
    part = decided(name, key, difference, claimed=claimed, count=count)
    if contrast.show == "references":
        return part._replace(text=part.text + references(key, one.group, bounds))
    if contrast.show == "change" and first.estimate and second.estimate:
        return part._replace(text=part.text + _change(first.estimate, second.estimate))
    return part


def best(contrast: Contrast, key: str, sides: Sequence[Side], bounds: Bounds) -> list[Part]:
    """The first arm has the best mean; how clearly, its interval to the next best says."""
    one, *others = sides
    first, *seconds = (summary(side.group, key) for side in sides)
    if first.diverged or not first.estimate:
        name = contrast.contrast or in_words(one.arm, others[0].arm)[0]
        return [Part(name, key, "contradicted", "diverged")]
    sound = [
        (metric(key).rank(found.estimate.value), number)
        for number, found in enumerate(seconds)
        if found.estimate and not found.diverged
    ]
    if not sound:
        name = contrast.contrast or in_words(one.arm, others[0].arm)[0]
        return [Part(name, key, "supported", "all others diverged")]
    _, number = min(sound)
    second = seconds[number]
    name = contrast.contrast or " against ".join(in_words(one.arm, others[number].arm))
    name = f"{name}, the best other{_departures(sides)}"
    difference = welch(first.finite, second.finite)
    claimed = improvement(key)
    part = decided(name, key, difference, claimed=claimed, count=seeds(first, second))
    if difference.low is None or difference.value * claimed <= 0:
        return [part]
    how = "by more than slightly" if difference.sign else "slightly"
    many = dict(enumerate(NUMBERS, start=2)).get(len(sides), str(len(sides)))
    text = f"the {metric(key).better_word} of the {many}, {how}: {part.text}"
    return [part._replace(outcome="supported", text=text)]


def better_by_image(
    contrast: Contrast, key: str, sides: Sequence[Side], bounds: Bounds
) -> list[Part]:
    """Each arm recreates the same test images better than the last."""
    *firsts, other = sides
    return [_compare_images(contrast, key, one, other) for one in firsts]


def _compare_images(contrast: Contrast, key: str, one: Side, other: Side) -> Part:
    first = image_errors(one.group, key)
    second = image_errors(other.group, contrast.other_metric or key)
    check_same_images(one.group, other.group)
    count = f"{len(first)} images"
    difference = paired(first.tolist(), second.tolist())
    name, claimed = _name(contrast, one, other), improvement(key)
    part = decided(name, key, difference, claimed=claimed, count=count)
    text = part.text.replace("larger than seed noise", "beyond the spread of the images")
    won = 100 * ((first - second) * claimed > 0).mean()
    return part._replace(text=f"{text}; better on {won:.0f} % of {count}")


def not_better_than_ceiling(
    contrast: Contrast, key: str, sides: Sequence[Side], bounds: Bounds
) -> list[Part]:
    """No arm is better than the best of what needs no training: a PCA Gaussian, pixel noise."""
    ceilings = {name: bounds[f"{name}/{key}"] for name in CEILINGS if f"{name}/{key}" in bounds}
    if not ceilings:
        runs = [side.group.runs[0] for side in sides]
        raise Missing([f"no ceilings of {key}"], [evaluate(run) for run in runs])
    best_known = min(ceilings, key=lambda name: metric(key).rank(ceilings[name]))
    parts = []
    for side in sides:
        name = f"{contrast.contrast or side.arm.label} no better than the {BOUNDS[best_known]}"
        found = summary(side.group, key)
        if found.diverged:
            parts.append(Part(name, key, "not answered", f"{side.group.label} diverged"))
            continue
        difference = mean([value - ceilings[best_known] for value in found.finite])
        count = seeds(found, found)
        part = decided(name, key, difference, claimed=-improvement(key), count=count)
        parts.append(part._replace(text=part.text + references(key, side.group, bounds)))
    return parts


KINDS = {
    "better": Kind(better, 2),
    "best": Kind(best, 2),
    "not_better": Kind(not_better, 2),
    "better_by_image": Kind(better_by_image, 2),
    "not_better_than_ceiling": Kind(not_better_than_ceiling, 1),
}


def decided(name: str, key: str, difference: Estimate, *, claimed: int, count: str) -> Part:
    """Supported if the 95 % interval excludes 0 in the claimed direction, and so on.

    Args:
        name: Of the contrast.
        key: The metric.
        difference: One - other.
        claimed: The sign that the claim gives to it.
        count: On how many seeds or images it stands, e.g. "3 seeds".
    """
    outcome: Outcome = "not distinguishable"
    if difference.sign:
        outcome = "supported" if difference.sign == claimed else "contradicted"
    text = difference_in_words(metric(key), difference, count)
    return Part(name, key, outcome, text, difference, count)


def improvement(key: str) -> int:
    """The sign of a difference that is better: -1 or 1."""
    return 1 if metric(key).better == "higher" else -1


def _name(contrast: Contrast, *sides: Side) -> str:
    one, other = sides[0].arm, sides[-1].arm
    return (contrast.contrast or " against ".join(in_words(one, other))) + _departures(sides)


def _departures(sides: Sequence[Side]) -> str:
    """Where groups depart from their arms, to follow a contrast's name."""
    found = sorted({text for side in sides for text in side.arm.departures(side.group)})
    return f" ({', '.join(found)})" if found else ""


def _change(one: Estimate, other: Estimate) -> str:
    """How much the one differs in percent of the other, to follow a text."""
    return f" ({100 * (one.value / other.value - 1):+.1f} %)" if other.value else ""
