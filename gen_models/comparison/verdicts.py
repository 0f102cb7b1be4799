"""Which of two groups is better at what, in plain words."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison import metrics
from gen_models.comparison.metrics import HEADLINES, Metric
from gen_models.comparison.statistics import Estimate, welch
from gen_models.comparison.table import Group, Summary


class Verdict(NamedTuple):
    """One metric, one group against another."""

    group: str
    against: str
    metric: str
    difference: Estimate | None  # group - against; None if a run diverged
    better: str  # the label of the better group; "" if neither is known to be
    text: str

    @property
    def is_headline(self) -> bool:
        """Whether the report tells it first."""
        return "verdicts" in HEADLINES.get(self.metric, ())


class Pair(NamedTuple):
    """Two groups, and the verdicts by every metric that both have."""

    one: Group
    other: Group
    verdicts: list[Verdict]


def judge(groups: Sequence[Group], keys: Sequence[str], bounds: dict[str, float]) -> list[Pair]:
    """Every pair that is worth a verdict, with its verdicts.

    Models within a phase, phases within a model, variants against their phase's reference.

    Args:
        groups: Every group of the comparison.
        keys: The metrics.
        bounds: "real/KEY" says what real images have; only the nearer to it is better.
    """
    couples = list(itertools.combinations([group for group in groups if group.reference], 2))
    pairs = [(later, first) for first, later in couples if first.model == later.model]
    pairs += [(a, b) for a, b in couples if a.phase == b.phase and a.model != b.model]
    for group in groups:
        family = [g for g in groups if (g.model, g.phase) == (group.model, group.phase)]
        against = next((g for g in family if g.reference), family[0])
        if group is not against:
            pairs.append((group, against))
    found = []
    for one, other in pairs:
        told = [verdict(one, other, key, bounds.get(f"real/{key}")) for key in keys]
        found.append(Pair(one, other, [each for each in told if each]))
    return found


def verdict(one: Group, other: Group, key: str, real: float | None = None) -> Verdict | None:
    """Set one group against the other by Welch's interval; None if one lacks the metric.

    Args:
        one: The group of which is said that it is lower or higher.
        other: The group it is compared with.
        key: The metric.
        real: Its value for real images, for metrics where the nearer is the better.
    """
    first, second = one.summary(key), other.summary(key)
    if first is None or second is None:
        return None
    for group, found in ((one, first), (other, second)):
        if found.diverged:
            runs = f"{found.diverged} of {len(found.values)} runs"
            text = f"no verdict: {group.label} diverged in {runs}"
            return Verdict(one.label, other.label, key, None, "", text)
    metric = metrics.metric(key)
    difference = welch(first.finite, second.finite)
    better = ""
    if difference.sign and first.estimate and second.estimate:
        ranks = [metric.rank(found.value, real) for found in (first.estimate, second.estimate)]
        if ranks[0] != ranks[1]:
            better = one.label if ranks[0] < ranks[1] else other.label
    text = in_words(metric, difference, seeds(first, second))
    return Verdict(one.label, other.label, key, difference, better, text)


def in_words(metric: Metric, difference: Estimate, count: str) -> str:
    """A difference of two means by a metric as a sentence.

    "lower by 12.3 [8.1, 16.5] nats": the interval is of the size, so it may cross 0.

    Args:
        metric: By which the two differ.
        difference: Of two means.
        count: On how many seeds it stands, e.g. "3 seeds".
    """
    value, low, high = difference
    if value == 0 and low == high:
        return f"the same with {count}"
    size = f"{'lower' if value < 0 else 'higher'} by {metric.show(abs(value))}"
    if low is not None and high is not None and low != high:
        ends = (-high, -low) if value < 0 else (low, high)
        size += f" [{metric.show(ends[0])}, {metric.show(ends[1])}]"
    size = f"{size} {metric.unit}".rstrip()
    if low is None:
        return f"{size}, with {count}: no interval, seed noise is unknown"
    if low == high:
        return f"{size}, the same in every seed"
    if difference.sign == 0:
        return f"not distinguishable with {count} ({size})"
    return f"{size}: larger than seed noise"


def seeds(one: Summary, other: Summary) -> str:
    """On how many seeds a difference stands: "3 seeds", "one seed", "3 and 1 seeds"."""
    first, second = len(one.finite), len(other.finite)
    if first != second:
        return f"{first} and {second} seeds"
    return "one seed" if first == 1 else f"{first} seeds"
