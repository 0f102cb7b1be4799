"""Which of two groups is better at what, in plain words."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison import metrics
from gen_models.comparison.metrics import HEADLINES, Metric
from gen_models.comparison.statistics import LEVEL, Superiority, least_p, superiority
from gen_models.comparison.table import Group, Summary, families, show_median, standing_for

LOSS_IS = ("model.likelihood", "model.binarize", "model.beta", "model.iwae_samples")
LOSSES = ("test/loss", "test/recon", "val/loss", "val/recon")
RESAMPLES = 1000  # there are many verdicts


class Verdict(NamedTuple):
    """One metric, one group against another."""

    group: str
    against: str
    metric: str
    found: Superiority | None  # of the group; None with a single run
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

    Models within a phase, phases within a model, variants against the group that stands for their
    phase. Losses of other definitions (LOSS_IS) are not set against one another.

    Args:
        groups: Every group of the comparison.
        keys: The metrics.
        bounds: "real/KEY" says what real images have; only the nearer to it is better.
    """
    known = families(groups)
    couples = list(itertools.combinations(map(standing_for, known), 2))
    pairs = [(later, first) for first, later in couples if first.model == later.model]
    pairs += [(a, b) for a, b in couples if a.phase == b.phase and a.model != b.model]
    for family in known:
        against = standing_for(family)
        pairs += [(group, against) for group in family if group is not against]
    found = []
    for one, other in pairs:
        same = all(one.settings.get(key) == other.settings.get(key) for key in LOSS_IS)
        fit = [key for key in keys if same or key not in LOSSES]
        told = [verdict(one, other, key, bounds.get(f"real/{key}")) for key in fit]
        found.append(Pair(one, other, [each for each in told if each]))
    return [pair for pair in found if pair.verdicts]


def verdict(one: Group, other: Group, key: str, real: float | None = None) -> Verdict | None:
    """Set one group against the other by Brunner and Munzel's test; None if one lacks the metric.

    Args:
        one: The group of which is said how often it is better.
        other: The group it is compared with.
        key: The metric.
        real: Its value for real images, for metrics where the nearer is the better.
    """
    first, second = one.summary(key), other.summary(key)
    metric = metrics.metric(key)
    if first is None or second is None or (metric.better == "real" and real is None):
        return None
    found, text = against(metric, first, second, real)
    better = ""
    if found and found.p < LEVEL:
        better = one.label if found.theta > 0.5 else other.label
    return Verdict(one.label, other.label, key, found, better, text)


def against(
    metric: Metric, one: Summary, other: Summary, real: float | None = None
) -> tuple[Superiority | None, str]:
    """How often the one is better than the other, and in words.

    "8.00 against 37.00; better in 90 % of pairs [60, 98], p = 0.002: beyond seed noise"
    """
    count = _seeds(one, other)
    sizes = " against ".join(show_median(metric, each) for each in (one, other))
    if min(len(one.values), len(other.values)) < 2:
        return None, f"{sizes}, with {count}: seed noise is unknown"
    found = superiority(one.scores(metric, real), other.scores(metric, real), RESAMPLES)
    theta, low, high = (f"{100 * number:.0f}" for number in found[:3])
    if least_p(len(one.values), len(other.values)) >= LEVEL:
        end = f"{count} cannot decide, train at least four"
    else:
        end = "beyond seed noise" if found.p < LEVEL else f"not decided with {count}"
    return found, f"{sizes}; better in {theta} % of pairs [{low}, {high}], p = {found.p:.2g}: {end}"


def _seeds(one: Summary, other: Summary) -> str:
    """On how many seeds a difference stands: "3 seeds", "one seed", "3 and 1 seeds"."""
    first, second = len(one.values), len(other.values)
    if first != second:
        return f"{first} and {second} seeds"
    return "one seed" if first == 1 else f"{first} seeds"
