"""Which of two groups is better at what, in plain words."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.analysis.groups import Group, Summary, families
from gen_models.analysis.metrics import HEADLINES, metric
from gen_models.analysis.statistics import (
    LEAST,
    LEVEL,
    Superiority,
    format_p,
    percent,
    superiority,
)

LOSS_IS = ("model.likelihood", "model.binarize", "model.beta", "model.iwae_samples")
LOSSES = ("test/loss", "test/recon", "val/loss", "val/recon")
RESAMPLES = 1000  # there are many verdicts


class Verdict(NamedTuple):
    """One metric, one group against another."""

    group: str
    against: str
    metric: str
    test: Superiority | None  # of the group; None with a single run
    better: str  # the label of the better group; "" if neither is known to be
    text: str

    @property
    def is_headline(self) -> bool:
        """Whether the report shows it first."""
        return "verdicts" in HEADLINES.get(self.metric, ())


class Pair(NamedTuple):
    """Two groups, and the verdicts by every metric that both have."""

    one: Group
    other: Group
    verdicts: list[Verdict]


def judge(groups: Sequence[Group], keys: Sequence[str], bounds: dict[str, float]) -> list[Pair]:
    """Every pair that is worth a verdict, with its verdicts.

    Models within a phase, phases within a model, variants against the reference of their
    phase. Losses of other definitions (LOSS_IS) are not set against one another.
    """
    known = families(groups)
    main = [max(family, key=lambda each: (each.reference, len(each.runs))) for family in known]
    couples = list(itertools.combinations(main, 2))
    pairs = [(later, first) for first, later in couples if first.model == later.model]
    pairs += [(a, b) for a, b in couples if a.phase == b.phase and a.model != b.model]
    for family, reference in zip(known, main, strict=True):
        pairs += [(group, reference) for group in family if group is not reference]
    judged = []
    for one, other in pairs:
        same = all(one.settings.get(key) == other.settings.get(key) for key in LOSS_IS)
        comparable = [key for key in keys if same or key not in LOSSES]
        verdicts = [verdict(one, other, key, bounds.get(f"real/{key}")) for key in comparable]
        judged.append(Pair(one, other, [each for each in verdicts if each]))
    return [pair for pair in judged if pair.verdicts]


def verdict(one: Group, other: Group, key: str, real: float | None = None) -> Verdict | None:
    """How often one group is better than the other by a metric; None if one was not measured.

    Where the nearer to real images is the better, `real` is their value.
    """
    first, second = one.summary(key), other.summary(key)
    if first is None or second is None or (metric(key).better == "real" and real is None):
        return None
    test, text = against(first, second, real)
    better = ""
    if test and is_decided(first, second, test):
        better = one.label if test.theta > 0.5 else other.label
    return Verdict(one.label, other.label, key, test, better, text)


def against(
    one: Summary, other: Summary, real: float | None = None
) -> tuple[Superiority | None, str]:
    """How often the one is better than the other, and in words.

    "8.00 against 37.00; better in 90 % [60, 98] of pairs, p = 0.002: beyond seed noise"
    """
    test, words = evidence(one, other, real)
    return test, f"{one.text} against {other.text}; {words}"


def evidence(
    one: Summary, other: Summary, real: float | None = None
) -> tuple[Superiority | None, str]:
    """The second half of `against`; fewer runs than `LEAST` of one of them decide nothing."""
    n, m = len(one.values), len(other.values)
    count = f"{n} and {m} seeds" if n != m else "one seed" if n == 1 else f"{n} seeds"
    few = f"{count} cannot decide, train at least four"
    if min(n, m) < 2:
        return None, few
    test = superiority(one.scores(real=real), other.scores(real=real), RESAMPLES)
    end = few
    if min(n, m) >= LEAST:
        decided = is_decided(one, other, test)
        end = "beyond seed noise" if decided else f"not decided with {count}"
    return test, f"better in {percent(test)} of pairs, p = {format_p(test.p)}: {end}"


def is_decided(one: Summary, other: Summary, test: Superiority) -> bool:
    """Whether two groups have runs enough, and differ beyond what seeds do."""
    return min(len(one.values), len(other.values)) >= LEAST and test.p < LEVEL
