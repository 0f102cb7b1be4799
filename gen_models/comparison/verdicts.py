"""Which of two groups is better at what, in plain words."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison.metrics import Metric, metric
from gen_models.comparison.statistics import Estimate, welch
from gen_models.comparison.table import Group, Summary


class Verdict(NamedTuple):
    """One metric, one group against another."""

    one: str
    other: str
    key: str
    difference: Estimate | None  # one - other; None if a run diverged
    better: str  # the label of the better group; "" if neither is known to be
    text: str


def pairs(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Models within a phase, phases within a model, variants against their phase's reference."""
    references = [group for group in groups if group.reference]
    found = [
        (one, other)
        for i, other in enumerate(references)
        for one in references[i + 1 :]
        if one.model == other.model
    ]
    found += [
        (one, other)
        for i, one in enumerate(references)
        for other in references[i + 1 :]
        if one.phase == other.phase and one.model != other.model
    ]
    for group in groups:
        family = [g for g in groups if (g.model, g.phase) == (group.model, group.phase)]
        against = next((g for g in family if g.reference), family[0])
        if group is not against:
            found.append((group, against))
    return found


def verdict(one: Group, other: Group, key: str, real: float | None = None) -> Verdict | None:
    """Set one group against the other by Welch's interval; None if one lacks the metric.

    Args:
        one: The group of which is said that it is lower or higher.
        other: The group it is compared with.
        key: The metric.
        real: Its value for real images, for metrics where the nearer is the better.
    """
    mine, theirs = one.summary(key), other.summary(key)
    if mine is None or theirs is None:
        return None
    for group, summary in ((one, mine), (other, theirs)):
        if summary.diverged:
            text = f"no verdict: {group.label} diverged in {_of_runs(summary)}"
            return Verdict(one.label, other.label, key, None, "", text)
    difference = welch(mine.finite, theirs.finite)
    better = ""
    if difference.sign:
        better = _better(metric(key), one, other, (mine, theirs), difference.value, real)
    text = in_words(metric(key), difference, seeds(mine, theirs))
    return Verdict(one.label, other.label, key, difference, better, text)


def in_words(of: Metric, difference: Estimate, count: str) -> str:
    """A difference as a sentence.

    Args:
        of: The metric.
        difference: Of two means.
        count: On how many seeds it stands, e.g. "3 seeds".
    """
    size = _size(of, difference)
    if difference.value == 0 and difference.low == difference.high:
        return f"the same with {count}"
    if not difference.has_interval:
        return f"{size}, with {count}: no interval, seed noise is unknown"
    if difference.low == difference.high:
        return f"{size}, the same in every seed"
    if difference.sign == 0:
        return f"not distinguishable with {count} ({size})"
    return f"{size}: larger than seed noise"


def seeds(mine: Summary, theirs: Summary) -> str:
    """On how many seeds a difference stands: "3 seeds", "one seed", "3 and 1 seeds"."""
    counts = len(mine.finite), len(theirs.finite)
    if counts[0] != counts[1]:
        return f"{counts[0]} and {counts[1]} seeds"
    return "one seed" if counts[0] == 1 else f"{counts[0]} seeds"


def _size(of: Metric, difference: Estimate) -> str:
    """E.g. "lower by 12.3 [8.1, 16.5] nats"; the interval is of the size, so it may cross 0."""
    direction = "lower" if difference.value < 0 else "higher"
    unit = f" {of.unit}" if of.unit else ""
    text = f"{direction} by {of.show(abs(difference.value))}"
    if difference.low is None or difference.high is None or difference.low == difference.high:
        return text + unit
    ends = (-difference.high, -difference.low) if difference.value < 0 else difference[1:]
    return f"{text} [{of.show(ends[0])}, {of.show(ends[1])}]{unit}"


def _of_runs(summary: Summary) -> str:
    return f"{summary.diverged} of {len(summary.values)} runs"


def _better(
    of: Metric,
    one: Group,
    other: Group,
    summaries: tuple[Summary, Summary],
    difference: float,
    real: float | None,
) -> str:
    if of.better == "real":
        if real is None:
            return ""
        off = [abs(math.fsum(s.finite) / len(s.finite) - real) for s in summaries]
        return one.label if off[0] < off[1] else other.label
    if not of.better:
        return ""
    return one.label if (difference < 0) == (of.better == "lower") else other.label
