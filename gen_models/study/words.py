"""What the runs of a study say: one plain sentence a comparison, and the statistics behind it."""

from collections.abc import Sequence
from typing import NamedTuple

from gen_models.comparison.metrics import ENCODER, FID, INVERSION, metric
from gen_models.comparison.statistics import fisher
from gen_models.study.answer import Answer
from gen_models.study.evidence import Side, improvement
from gen_models.study.kinds import Part

PLAIN = {
    FID: "distance to real images",
    "coverage": "share of real images with a new one near by",
    ENCODER: "error of recreated images",
    INVERSION: "error of recreated images",
    "test/loss": "test loss",
}
WAYS = {ENCODER: "by its encoder", INVERSION: "by search"}
HOW_OFTEN = (  # from this probability on; the last one is 0
    (1.0, "every {one}"),
    (0.95, "almost every {one}"),
    (0.75, "most {many}"),
    (0.5, "more than half of the {many}"),
    (0.25, "less than half of the {many}"),
    (1e-9, "few {many}"),
    (0.0, "no {one}"),
)


def verdict(answer: Answer) -> str:
    """The outcome of a claim in a few words: 'supported, but not "far"'."""
    words: str = answer.outcome
    if answer.outcome == "supported" and answer.fits is not None:
        part = next(part for part in answer.parts if part.fits is answer.fits)
        words += f', {"and" if answer.fits else "but not"} "{part.contrast.word}"'
    decided = answer.outcome in ("supported", "contradicted")
    if decided and any(part.depends for part in answer.parts):
        words += ", depends on the features"
    if answer.interim:
        words += ", interim"
    return words


def sentence(answer: Answer) -> str:
    """Why the outcome is what it is: the part that shows it, in plain words."""
    if answer.outcome == "not answered":
        return f"{'. '.join(answer.missing)}."
    if answer.outcome == "contradicted":
        against = [part for part in answer.parts if not part.supports]
        return plain(min(against, key=lambda part: part.test.p))
    misfits = [part for part in answer.parts if part.fits is False]
    weakest = max(misfits or answer.parts, key=lambda part: part.test.p)
    return plain(weakest, known=answer.outcome == "supported")


def plain(part: Part, *, known: bool = True) -> str:
    """Which one is better, how often, and two medians.

    Args:
        part: The comparison.
        known: Whether it is beyond chance.
    """
    first, second = _names(part)
    values, theta = _medians(part), part.test.theta
    if not part.contrast.margin and theta < 0.5:
        first, second, values, theta = second, first, values[::-1], 1 - theta
    numbers = f"{PLAIN.get(part.metric, part.metric)} {values[0]} against {values[1]}."
    if part.tied:
        return _capital(f"{first} and {second} cannot be told apart: {numbers}")
    one, many = ("run", "runs") if part.other is None else ("pair of runs", "pairs of runs")
    if part.contrast.kind == "wins":
        one, many = "comparison of one image", "comparisons of one image"
    often = next(words for least, words in HOW_OFTEN if theta >= least)
    often = often.format(one=one, many=many)
    text = f"{first} beats {second}{_margin(part)} in {often}: {numbers}"
    return _capital(text) if known else f"Not beyond chance: {text}"


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _names(part: Part) -> tuple[str, str]:
    """The two that are compared."""
    if part.other is None:
        return part.one.label, "a crude Gaussian"
    if part.contrast.kind != "wins":
        return part.one.label, part.other.label
    other_metric = part.contrast.other_metric or part.metric
    first, second = (WAYS.get(key, f"by {key}") for key in (part.metric, other_metric))
    return f"{part.one.label} {first}", f"{part.other.label} {second}"


class Line(NamedTuple):
    """A part of a claim as a row of its table of statistics."""

    compared: str  # "final GAN against baseline GAN"
    metric: str
    medians: str  # of the two
    better: str  # how often the first is, "90 % [66, 97] of pairs of runs"
    p: str
    change: str  # how far the first is from the second, of the runs that count
    failed: str  # "1 of 10 and 0 of 10, p = 1"
    says: str  # what it says of the claim


def line(part: Part, decides: bool) -> Line:
    """A part of a claim, in the words of its table."""
    says = "for the claim" if part.supports else "against the claim"
    return Line(
        " against ".join(_names(part)),
        part.metric,
        " and ".join(_medians(part)),
        f"{percent(part.test)} of {_counted(part)}{_margin(part)}",
        format_p(part.test.p),
        _by_how_much(part),
        _failures(part),
        "decides nothing" if not decides else "neither" if part.tied else says,
    )


def _medians(part: Part) -> tuple[str, str]:
    own = median(part.one, part.metric)
    if part.other is None:
        return own, metric(part.metric).show(part.constant)
    return own, median(part.other, part.contrast.other_metric or part.metric)


def _counted(part: Part) -> str:
    if part.contrast.kind == "wins":
        return "triples of an image and a run of each"
    if part.other is None:
        return "runs"
    return "pairs of the same run" if part.paired else "pairs of runs"


def _margin(part: Part) -> str:
    return f" by {100 * part.contrast.margin:g} % or more" if part.contrast.margin else ""


def _by_how_much(part: Part) -> str:
    if part.change is None:
        return "-"
    value, low, high = part.change
    better = value >= 0
    lower = better == (improvement(part.metric) == 1)
    ends = (low, high) if better else (-high, -low)
    shown = ", ".join(f"{100 * end:z.1f}" for end in ends)
    return f"{100 * abs(value):.1f} % [{shown}] {'lower' if lower else 'higher'}"


def _failures(part: Part) -> str:
    """How many runs failed, where some did: k of N, and Fisher's test of two arms' rates."""
    sides = [side for side in (part.one, part.other) if side]
    if not any(side.failed for side in sides):
        return "none"
    text = " and ".join(f"{len(side.failed)} of {len(side.seeds)}" for side in sides)
    if len(sides) < 2 or part.paired:
        return text
    counts = (count for side in sides for count in (len(side.failed), len(side.seeds)))
    return f"{text}, p = {format_p(fisher(*counts))}"


def notes(answer: Answer) -> list[str]:
    """What a reader has to know of a verdict: other features, missing runs, its rule."""
    odd = [
        f"{' against '.join(_names(part))} in {', '.join(part.depends)}"
        for part in answer.parts
        if part.depends
    ]
    sides = [side for part in answer.parts for side in (part.one, part.other) if side]
    few = {s.label: f"{len(s.seeds)} of {len(s.planned)} of {s.label}" for s in sides if s.short}
    out = {s.label: f"{', '.join(map(str, s.left_out))} of {s.label}" for s in sides if s.left_out}
    return [
        text
        for text in (
            f"In other features it comes out the other way: {'; '.join(odd)}." if odd else "",
            f"Interim, runs so far: {', '.join(few.values())}." if few else "",
            f"The search for codes has not converged for seed {'; '.join(out.values())}: left out "
            "of recreation."
            if out
            else "",
            answer.claim.note,
            f"Too few runs to show: {'; '.join(answer.missing_others)}."
            if answer.missing_others
            else "",
        )
        if text
    ]


def statistics(answer: Answer) -> str:
    """How p was found, before the table of the parts."""
    if answer.p is None:
        return ""
    count, holm = len(answer.parts), f"p = {format_p(answer.p)} after Holm's correction"
    if count == 1:
        return f"One part decides; {holm}."
    against = sum(not part.supports and not part.tied for part in answer.parts)
    if against:
        return f"Parts against the claim: {against} of {count}; their smallest p x {count}: {holm}."
    return f"Parts against the claim: none of {count}; their largest p: {holm}."


def median(side: Side, key: str) -> str:
    """Of the runs that count; "all failed" if none does."""
    return metric(key).show(side.median) if side.values else "all failed"


def percent(interval: Sequence[float]) -> str:
    """A share with its interval: "95 % [85, 99]"."""
    value, low, high = (f"{100 * number:.0f}" for number in interval[:3])
    return f"{value} % [{low}, {high}]"


def format_p(p: float) -> str:
    """A probability for a person."""
    return f"{p:.2g}"
