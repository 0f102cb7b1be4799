"""Which of two groups is better at what, in plain words."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gen_models.analysis.groups import Group, Summary, families
from gen_models.analysis.metrics import HEADLINES, QUICK, metric
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

    metric: str
    test: Superiority | None  # of the first group; None with a single run
    few: bool  # whether there are fewer runs than decide anything
    better: str  # the name of the better one; "" if neither is known to be
    words: str  # "better in 90 % [60, 98] of pairs, p = 0.002: beyond seed noise"
    text: str  # with both medians before it

    @property
    def is_headline(self) -> bool:
        """Whether the report shows it first."""
        return self.metric.removeprefix(QUICK) in HEADLINES


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
        verdicts = []
        for key in [key for key in keys if same or key not in LOSSES]:
            first, second = one.summaries.get(key), other.summaries.get(key)
            real = bounds.get(f"real/{key}")
            if first and second and (metric(key).better != "real" or real is not None):
                verdicts.append(verdict(first, second, (one.label, other.label), real))
        if verdicts:
            judged.append(Pair(one, other, verdicts))
    return judged


def verdict(
    one: Summary,
    other: Summary,
    names: tuple[str, str] = ("the first", "the second"),
    real: float | None = None,
) -> Verdict:
    """How often the one is better than the other; fewer runs than `LEAST` decide nothing.

    Where the nearer to real images is the better, `real` is their value.
    """
    n, m = len(one.values), len(other.values)
    count = f"{n} and {m} seeds" if n != m else "one seed" if n == 1 else f"{n} seeds"
    test, few, better = None, min(n, m) < LEAST, ""
    words = f"{count} cannot decide, train at least four"
    if min(n, m) > 1:
        test = superiority(one.scores(real=real), other.scores(real=real), RESAMPLES)
        if not few:
            better = names[test.theta <= 0.5] if test.p < LEVEL else ""
            words = "beyond seed noise" if better else f"not decided with {count}"
        words = f"better in {percent(test)} of pairs, p = {format_p(test.p)}: {words}"
        if one.failures or other.failures:
            words += "; a failed run counts as the worst"
    text = f"{one.text} against {other.text}; {words}"
    return Verdict(one.key, test, few, better, words, text)
