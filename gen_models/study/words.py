"""The verdict on a claim in words: one sentence, and its parts as rows of a table."""

from gen_models.analysis.groups import Summary
from gen_models.analysis.metrics import ENCODER, FID, INVERSION, metric, solver_and_steps
from gen_models.analysis.statistics import LEVEL, fisher, format_p, percent
from gen_models.study.answer import Answer
from gen_models.study.evidence import SEARCHED
from gen_models.study.kinds import Part

PLAIN = {
    FID: "distance to real images",
    "coverage": "share of real images that have a similar new one",
    ENCODER: "error of recreated images",
    INVERSION: "error of recreated images",
    "test/loss": "test loss",
    "cost/sampling_seconds": "seconds for 1,000 new images",
    "cost/flops_per_sample": "operations for a new image",
}
WAYS = {ENCODER: "by its encoder", INVERSION: "by search"}
HEADS = (  # of the table of statistics
    "compared", "metric", "medians", "the first is better in", "p",
    "of the runs that count, the first is", "failed", "says",
)  # fmt: skip


def verdict(answer: Answer) -> str:
    """The outcome of a claim in a few words: 'supported, but not "far"'."""
    words: str = answer.outcome
    if answer.outcome == "supported" and answer.fits is not None:
        part = next(part for part in answer.parts if part.fits is answer.fits)
        words += f', {"and" if answer.fits else "but not"} "{part.contrast.word}"'
    decided = answer.outcome in ("supported", "contradicted")
    if decided and any(part.depends for part in answer.parts):
        words += ", depends on the features"
    return f"{words}, interim" if answer.interim else words


def sentence(answer: Answer) -> str:
    """The part that shows best why the outcome is what it is."""
    if answer.outcome == "not answered":
        return " ".join(f"{_capital(reason)}." for reason in answer.missing)
    known = answer.outcome == "supported"
    if answer.outcome == "contradicted":
        against = [part for part in answer.parts if not part.supports]
        return plain(min(against, key=lambda part: part.test.p))
    if all(part.contrast.kind == "none_fails" for part in answer.parts):
        counts = [f"{len(part.one.values)} runs of {part.one.label}" for part in answer.parts]
        return f"{'None' if known else 'Not beyond chance: none'} failed of {', '.join(counts)}."
    misfits = [part for part in answer.parts if part.fits is False]
    return plain(max(misfits or answer.parts, key=lambda part: part.test.p), known=known)


def others(answer: Answer) -> list[str]:
    """What decides nothing, a sentence each."""
    return [plain(part, known=part.test.p < LEVEL) for part in answer.others]


def plain(part: Part, *, known: bool = True) -> str:
    """Which one is better, how often, and two medians; with a warning if it may be chance."""
    names, values, theta = _names(part), _medians(part), part.test.theta
    if not part.contrast.margin and theta < 0.5:
        names, values, theta = names[::-1], values[::-1], 1 - theta
    if part.contrast.kind == "none_fails":
        count = len(part.one.lost) or "None"
        return f"{count} of the {len(part.one.values)} runs of {part.one.label} failed."
    numbers = f"{PLAIN.get(part.metric, part.metric)} {values[0]} against {values[1]}."
    if part.tied:
        return _capital(f"{names[0]} and {names[1]} cannot be told apart: {numbers}")
    often = f"{'all' if theta == 1 else f'{100 * theta:.0f} % of'} {_counted(part)}"
    if part.contrast.kind == "cheaper":
        text = f"at equal distance, {names[0]} is{_margin(part)} cheaper than {names[1]}"
    else:
        text = f"{names[0]} beats {names[1]}{_margin(part)}"
    text += f" in {often}: {numbers}"
    return _capital(text) if known else f"Not beyond chance: {text}"


def lines(answer: Answer) -> list[tuple[str, ...]]:
    """The parts of a claim as rows under `HEADS`."""
    rows = list[tuple[str, ...]]()
    for part in (*answer.parts, *answer.others):
        says = "neither" if part.tied else f"{'for' if part.supports else 'against'} the claim"
        cheaper = " cheaper" if part.contrast.kind == "cheaper" else ""
        cells = (
            " against ".join(_names(part)), part.metric, " and ".join(_medians(part)),
            f"{percent(part.test)} of {_counted(part)}{_margin(part)}{cheaper}",
            format_p(part.test.p), _change(part), _failures(part),
            says if part.contrast.decides else "decides nothing",
        )  # fmt: skip
        rows.append(cells)
    return rows


def notes(answer: Answer) -> list[str]:
    """What a reader has to know of a verdict: other features, missing runs, its rule."""
    other_way = [
        f"{' against '.join(_names(part))} in {', '.join(part.depends)}"
        for part in answer.parts
        if part.depends
    ]
    sides = [side for part in answer.parts for side in part.sides]
    few = [f"{len(s.values)} of {len(s.planned)} of {s.label}" for s in sides if s.incomplete]
    out = [f"{', '.join(map(str, s.left_out))} of {s.label}" for s in sides if s.left_out]
    bounds = [(s, f"{', '.join(map(str, s.bounded))} of {s.label}") for s in sides if s.bounded]
    searches = [text for side, text in bounds if side.key.startswith(SEARCHED)]
    costs = [text for side, text in bounds if not side.key.startswith(SEARCHED)]
    search = "The search for codes has not converged for seed {}"
    near = "New images of seed {} come so near at no number of steps"
    texts = {
        "In other features it comes out the other way: {}.": other_way,
        "Interim, runs so far: {}.": few,
        f"{search}: left out of recreation.": out,
        f"{search}: the true error is even smaller.": searches,
        f"{near}: the true cost is even higher.": costs,
        "{}": [answer.claim.note] if answer.claim.note else [],
        "Not every comparison can be shown: {}.": answer.missing_others,
    }
    return [text.format("; ".join(dict.fromkeys(parts))) for text, parts in texts.items() if parts]


def median(side: Summary) -> str:
    """The median of the runs that count; "all failed" if none does."""
    return metric(side.key).show(side.median) if side.sound else "all failed"


def way(key: str) -> str:
    """How images are recreated or drawn that `key` measures: "by search"; "" in the usual way."""
    return WAYS.get(key) or _steps(key)


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _names(part: Part) -> list[str]:
    """What is compared, one or two."""
    if part.other is None:
        return [part.one.label]
    if part.contrast.kind == "wins":
        return [f"{side.label} {way(side.key) or f'by {side.key}'}" for side in part.sides]
    return [f"{side.label} {_steps(side.key)}".rstrip() for side in part.sides]


def _steps(key: str) -> str:
    """The steps in which images are drawn that `key` measures: "with 4 euler steps"."""
    solver, steps = solver_and_steps(key) or ("", 0)
    return f"with {steps} {solver} step{'s' * (steps > 1)}" if solver else ""


def _medians(part: Part) -> list[str]:
    """The medians of what is compared; of a cost that is a bound in most runs, "over 16.0"."""
    return [
        f"over {median(side)}"
        if part.contrast.kind == "cheaper" and 2 * len(side.bounded) > len(side.values)
        else median(side)
        for side in part.sides
    ]


def _counted(part: Part) -> str:
    """What is counted for the share in which the first is better."""
    if part.contrast.kind == "wins":
        return "comparisons of one image"
    if len(part.arms) == 1:
        return "runs"
    return "pairs of the same seed" if part.paired else "pairs of runs"


def _margin(part: Part) -> str:
    if not part.contrast.margin:
        return ""
    if part.contrast.kind == "cheaper":
        return f" at least {1 / (1 - part.contrast.margin):.3g} times"
    return f" by {100 * part.contrast.margin:g} % or more"


def _change(part: Part) -> str:
    """How much lower or higher the first is: "71.8 % [70.4, 73.0] lower"."""
    if part.change is None:
        return "-"
    value, low, high = part.change
    better = value >= 0
    lower = better == (metric(part.metric).better != "higher")
    ends = (low, high) if better else (-high, -low)
    shown = ", ".join(f"{100 * end:z.1f}" for end in ends)
    return f"{100 * abs(value):.1f} % [{shown}] {'lower' if lower else 'higher'}"


def _failures(part: Part) -> str:
    """How many runs failed, where some did: k of N, and Fisher's test of two arms' rates."""
    if not any(side.lost for side in part.arms):
        return "none"
    text = " and ".join(f"{len(side.lost)} of {len(side.values)}" for side in part.arms)
    if len(part.arms) == 1 or part.paired:
        return text
    counts = (count for side in part.arms for count in (len(side.lost), len(side.values)))
    return f"{text}, p = {format_p(fisher(*counts))}"
