"""What the runs of a study say, in sentences with their numbers."""

from collections.abc import Sequence

from gen_models.comparison.metrics import metric
from gen_models.comparison.statistics import LEVEL, Interval, fisher, share
from gen_models.study.answer import Answer
from gen_models.study.evidence import Side, improvement
from gen_models.study.kinds import Part


def verdict(answer: Answer) -> str:
    """The outcome of a claim in a few words: "supported, but not far"."""
    words: str = answer.outcome
    if answer.outcome == "supported" and answer.fits is not None:
        word = answer.parts[0].contrast.word
        words += f', and "{word}"' if answer.fits else f', but not "{word}"'
    if answer.interim:
        words += ", interim"
    return words


def sentence(answer: Answer) -> str:
    """Why the outcome is what it is."""
    if answer.outcome == "not answered":
        return f"{'. '.join(answer.missing)}."
    if answer.p is None:
        found = ", ".join(f"{part.best:.3f}" for part in answer.parts if part.best is not None)
        return f"The bootstrap probability that it is the best of all is {found}."
    holm = f"p = {number(answer.p)} after Holm's correction over the study's claims"
    count = len(answer.parts)
    if count == 1:
        return f"{_who(answer.parts[0])} {_how_often(answer.parts[0])}; {holm}."
    against = [part for part in answer.parts if not part.toward]
    if against:
        clearest = min(against, key=lambda part: part.found.p)
        return (
            f"{len(against)} of its {count} parts go the other way, most clearly {clearest.metric} "
            f"of {clearest.one.label}; its p times {count}: {holm}."
        )
    return f"All of its {count} parts go its way; the largest p of these: {holm}."


def part(each: Part) -> str:
    """An arm against another by one metric."""
    text = f"{_how_often(each)}, p = {number(each.found.p)}"
    if each.other is not None:
        medians = (median(side, key) for side, key in _sides(each))
        text += f"; medians {' and '.join(medians)}"
    if each.change is not None:
        text += f"; of the runs that did not fail, {_by_how_much(each)}"
    return f"{text}. {failures(each)}".strip()


def better(each: Part) -> str:
    """Which one is better by a part that only stands beside the claim."""
    if each.found.p >= LEVEL:
        return "Not told apart."
    return f"{each.one.label} is {'better' if each.found.theta > 0.5 else 'worse'}."


def _who(each: Part) -> str:
    if each.contrast.says:
        return f"{each.contrast.says[0].upper()}{each.contrast.says[1:]}: the first is"
    against = each.other.label if each.other else "the PCA Gaussian"
    return f"Against {against}, {each.one.label} is"


def _how_often(each: Part) -> str:
    theta = percent(each.found)
    if each.contrast.kind == "wins":
        return f"better on {theta} of all triples of an image and a run of each"
    if each.other is None:
        constant = metric(each.metric).show(each.constant)
        return f"better than the PCA Gaussian's {constant} in {theta} of the runs"
    pairs = "pairs of the same run" if each.paired else "pairs of runs"
    margin = f" by {100 * each.contrast.margin:g} % or more" if each.contrast.margin else ""
    return f"better{margin} in {theta} of {pairs}"


def _by_how_much(each: Part) -> str:
    assert each.change is not None
    value, low, high = each.change
    better = value >= 0
    lower = better == (improvement(each.metric) == 1)
    ends = (low, high) if better else (-high, -low)
    shown = ", ".join(f"{100 * end:.1f}" for end in ends)
    return f"{100 * abs(value):.1f} % [{shown}] {'lower' if lower else 'higher'}"


def failures(each: Part) -> str:
    """How many runs failed, where some did: k of N, and Fisher's test of two arms' rates."""
    sides = [side for side in (each.one, each.other) if side]
    if not any(side.failed for side in sides):
        return ""
    text = " and ".join(f"{len(side.failed)} of {len(side.seeds)}" for side in sides)
    if len(sides) < 2 or each.paired:
        return f"{text} failed."
    counts = (count for side in sides for count in (len(side.failed), len(side.seeds)))
    return f"{text} failed (Fisher's p = {number(fisher(*counts))})."


def depends(parts: Sequence[Part]) -> str:
    """Whether the features that the distance is taken in change which one is better."""
    checked = [each for each in parts if each.spaces]
    if not checked:
        return ""
    odd = sorted({space for each in checked for space in each.depends})
    if odd:
        return f"Depends on the features: the other way by {', '.join(odd)}."
    count = len({space for each in checked for space in each.spaces})
    return f"The same side in {count} other feature spaces."


def seeds(sides: Sequence[Side]) -> str:
    """How many runs there are, if some are missing: "GAN final: interim, 4 of 20 seeds"."""
    short = {side.label: side for side in sides if len(side.seeds) < side.planned}
    found = (f"{k}: interim, {len(s.seeds)} of {s.planned} seeds" for k, s in short.items())
    return "; ".join(found)


def median(side: Side, key: str) -> str:
    """Of the runs that did not fail; "-" if all did."""
    return metric(key).show(side.median if side.values else None)


def _sides(each: Part) -> list[tuple[Side, str]]:
    """The two sides with their metrics."""
    assert each.other is not None
    return [(each.one, each.metric), (each.other, each.contrast.other_metric or each.metric)]


def rate(side: Side) -> Interval:
    """The share of runs that failed, with Wilson's interval."""
    return share(len(side.failed), len(side.seeds))


def percent(interval: Sequence[float]) -> str:
    """A share with its interval: "95 % [85, 99]"."""
    value, low, high = (f"{100 * number:.0f}" for number in interval[:3])
    return f"{value} % [{low}, {high}]"


def number(p: float) -> str:
    """A probability for a person."""
    return f"{p:.2g}" if p >= 0.001 else f"{p:.1g}"


def advantage(key: str, sides: Sequence[Side]) -> list[Side]:
    """The sides that have a median, the best first."""
    having = [side for side in sides if side.values]
    return sorted(having, key=lambda side: improvement(key) * side.median)
