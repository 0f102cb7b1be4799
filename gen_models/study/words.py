"""What the runs of a study say, in sentences with their numbers."""

from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison.metrics import BOUNDS, metric
from gen_models.comparison.statistics import (
    LEVEL,
    Interval,
    fisher,
    probability_of_superiority,
    wilson_interval,
)
from gen_models.study.answer import Answer
from gen_models.study.definition import Study
from gen_models.study.evidence import Side, improvement
from gen_models.study.kinds import Part


def verdict(answer: Answer) -> str:
    """The outcome of a claim in a few words: "supported, but not far"."""
    words: str = answer.outcome
    if answer.outcome == "supported" and answer.fits is not None:
        told = next(part for part in answer.parts if part.fits is answer.fits)
        words += f', {"and" if answer.fits else "but not"} "{told.contrast.word}"'
    if any(part.depends for part in answer.parts):
        words += ", depends on the features"
    if answer.interim:
        words += ", interim"
    return words


def sentence(answer: Answer) -> str:
    """Why the outcome is what it is."""
    if answer.outcome == "not answered":
        return f"{'. '.join(answer.missing)}."
    assert answer.p is not None
    holm = f"p = {number(answer.p)} after Holm's correction over the study's claims"
    count = len(answer.parts)
    if count == 1:
        return f"{_who(answer.parts[0])} better in {_share(answer.parts[0])}; {holm}."
    tied = [part for part in answer.parts if part.tied]
    against = [part for part in answer.parts if not part.toward and not part.tied]
    if against:
        clearest = min(against, key=lambda part: part.found.p)
        best = clearest.contrast.kind == "best" and clearest.other
        return (
            f"{_go(against, count)} the other way, most clearly {clearest.metric} of "
            f"{(best or clearest.one).label}; its p times {count}: {holm}."
        )
    if tied:
        return f"{_go(tied, count)} neither way; {holm}."
    return f"All of its {count} parts go its way; the largest p of these: {holm}."


def _go(parts: Sequence[Part], count: int) -> str:
    return f"{len(parts)} of its {count} parts {'goes' if len(parts) == 1 else 'go'}"


class Line(NamedTuple):
    """A part of a claim as a row of its table."""

    compared: str  # "GAN final and GAN baseline"
    metric: str
    medians: str  # of the two
    better: str  # how often the first is, "90 % [66, 97] of pairs of runs"
    p: str
    change: str  # how far the first is from the second, of the runs that did not fail
    failed: str  # "1 of 10 and 0 of 10, p = 1"
    says: str  # what it says of the claim


def line(each: Part, decides: bool = True) -> Line:
    """A part of a claim, in the words of its table; `decides`: whether it does."""
    if not decides:
        says = f"does not decide: {_better(each)}"
    elif each.tied:
        says = "neither"
    else:
        says = "for the claim" if each.toward else "against the claim"
    return Line(
        _compared(each),
        each.metric,
        " and ".join(_medians(each)),
        _share(each),
        number(each.found.p),
        _by_how_much(each) if each.change is not None else "-",
        failures(each) or "none",
        says,
    )


def _compared(each: Part) -> str:
    other = each.other.label if each.other else BOUNDS["gaussian"]
    return each.contrast.says or f"{each.one.label} and {other}"


def _medians(each: Part) -> list[str]:
    own = median(each.one, each.metric)
    if each.other is None:
        return [own, metric(each.metric).show(each.constant)]
    return [own, median(each.other, each.contrast.other_metric or each.metric)]


def _better(each: Part) -> str:
    """Which one is, of a part that only stands beside the claim."""
    if each.found.p >= LEVEL:
        return "not told apart"
    better = each.found.theta > 0.5
    if not each.contrast.margin:
        return f"{each.one.label} is {'better' if better else 'worse'}"
    return f"{each.one.label} is {'' if better else 'not '}better{_margin(each)}"


def _who(each: Part) -> str:
    if each.contrast.says:
        return f"{each.contrast.says[0].upper()}{each.contrast.says[1:]}: the first is"
    against = each.other.label if each.other else f"the {BOUNDS['gaussian']}"
    return f"Against {against}, {each.one.label} is"


def _share(each: Part) -> str:
    """How often the first is better."""
    if each.contrast.kind == "wins":
        counted = "triples of an image and a run of each"
    elif each.other is None:
        counted = "runs"
    else:
        counted = "pairs of the same run" if each.paired else "pairs of runs"
    return f"{percent(each.found)} of {counted}{_margin(each)}"


def _margin(each: Part) -> str:
    return f", by {100 * each.contrast.margin:g} % or more" if each.contrast.margin else ""


def _by_how_much(each: Part) -> str:
    assert each.change is not None
    value, low, high = each.change
    better = value >= 0
    lower = better == (improvement(each.metric) == 1)
    ends = (low, high) if better else (-high, -low)
    shown = ", ".join(f"{100 * end:z.1f}" for end in ends)
    return f"{100 * abs(value):.1f} % [{shown}] {'lower' if lower else 'higher'}"


def failures(each: Part) -> str:
    """How many runs failed, where some did: k of N, and Fisher's test of two arms' rates."""
    sides = [side for side in (each.one, each.other) if side]
    if not any(side.failed for side in sides):
        return ""
    text = " and ".join(f"{len(side.failed)} of {len(side.seeds)}" for side in sides)
    if len(sides) < 2 or each.paired:
        return text
    counts = (count for side in sides for count in (len(side.failed), len(side.seeds)))
    return f"{text}, p = {number(fisher(*counts))}"


def repeated(answer: Answer, study: Study) -> str:
    """Whether other runs say the same, in the parts that only stand beside the claim."""
    sides = [side for part in answer.parts for side in (part.one, part.other) if side]
    deciding = {study.root(side.arm) for side in sides}
    told: dict[str, list[str]] = {}
    for each in answer.others:
        if each.other is None or deciding & {study.root(s.arm) for s in (each.one, each.other)}:
            continue
        if each.found.p >= LEVEL:
            side = "Other runs do not tell"
        else:
            side = f"Other runs say {'the same' if each.toward else 'the opposite'}"
        told.setdefault(side, []).append(f"{_compared(each)}, by {each.metric}")
    return " ".join(f"{side}: {'; '.join(parts)}." for side, parts in told.items())


def depends(parts: Sequence[Part]) -> str:
    """Whether the features that the distance is taken in change which one is better."""
    checked = [each for each in parts if each.spaces]
    if not checked:
        return ""
    odd = [f"{_compared(each)} by {', '.join(each.depends)}" for each in checked if each.depends]
    if odd:
        return f"Comes out otherwise in other features: {'; '.join(odd)}."
    count = len({space for each in checked for space in each.spaces})
    return f"The same side in {count} other feature spaces."


def seeds(sides: Sequence[Side]) -> str:
    """How many runs there are, if some are missing: "GAN final: interim, 4 of 20 seeds"."""
    short = {side.label: side for side in sides if side.short}
    found = (f"{k}: interim, {len(s.seeds)} of {len(s.planned)} seeds" for k, s in short.items())
    return "; ".join(found)


def median(side: Side, key: str) -> str:
    """Of the runs that did not fail; "-" if all did."""
    return metric(key).show(side.median if side.values else None)


def rate(side: Side) -> Interval:
    """The share of runs that failed, with Wilson's interval."""
    return wilson_interval(len(side.failed), len(side.seeds))


def percent(interval: Sequence[float]) -> str:
    """A share with its interval: "95 % [85, 99]"."""
    value, low, high = (f"{100 * number:.0f}" for number in interval[:3])
    return f"{value} % [{low}, {high}]"


def number(p: float) -> str:
    """A probability for a person."""
    return f"{p:.2g}" if p >= 0.001 else f"{p:.1g}"


def advantage(key: str, sides: Sequence[Side]) -> list[Side]:
    """The sides that have a median, first the one that is better in most pairs of runs."""
    having = [side for side in sides if side.values]

    def won(side: Side) -> float:
        return sum(
            probability_of_superiority(side.scores(key), other.scores(key)) for other in having
        )

    return sorted(having, key=won, reverse=True)
