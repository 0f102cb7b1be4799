"""The answer of a comparison: a few findings with their numbers, as the report begins."""

from collections.abc import Sequence
from typing import NamedTuple

from gen_models.analysis.metrics import CONTROL, CONVERGED, ENCODER, FID, INVERSION, QUICK, metric
from gen_models.analysis.runs import Run
from gen_models.analysis.statistics import LEAST
from gen_models.comparison.compare import Comparison
from gen_models.comparison.verdicts import verdict

TOPICS = {  # metric -> what it decides
    FID: "Most realistic new images",
    QUICK + FID: "Most realistic new images (of 2,000)",
    "coverage": "Most varied new images",
    ENCODER: "Best at recreating an image with its encoder",
    QUICK + ENCODER: "Best at recreating an image with its encoder",
    INVERSION: "Best at recreating an image with a search for z",
}
REFERENCES = {"floor": "real images reach", "gaussian": "a crude Gaussian"}


class Finding(NamedTuple):
    """One answer."""

    topic: str
    answer: str
    numbers: str = ""  # that it rests on, and what is left out

    @property
    def text(self) -> str:
        """The whole of it on one line."""
        return f"{self.topic}: {self.answer}. {self.numbers}".rstrip()


def compared(comparison: Comparison) -> str:
    """The groups and their seeds."""
    seeds = {group.label: _seeds(group.runs) for group in comparison.groups}
    first, *others = set(seeds.values())
    if others:
        return "; ".join(f"{label} ({numbers})" for label, numbers in seeds.items()) + "."
    return f"{'; '.join(seeds)}: {first}{' each' if len(seeds) > 1 else ''}."


def result(comparison: Comparison) -> list[Finding]:
    """The best setting of each sweep, or the best group at each; and how many runs failed."""
    best: dict[Finding, None] = {}  # each once: two metrics may say the same
    for line in (line for sweep in comparison.sweeps for line in sweep.lines if line.best):
        answer, _, numbers = line.best.partition("; ")
        best[Finding(line.label, answer, _sentence(numbers))] = None
    if best:
        return [*best]
    known = {key for group in comparison.groups for key in group.summaries}
    keys = [key for key in TOPICS if key != QUICK + ENCODER or ENCODER not in known]
    findings = [finding for key in keys if (finding := _best(comparison, key))]
    measured = {g.label: sum(run.measured for run in g.runs) for g in comparison.groups}
    failed = [
        f"{len(group.failed)} of {measured[group.label]} runs of {group.label} "
        f"({_seeds(group.failed)})"
        for group in comparison.groups
        if group.failed
    ]
    count = sum(measured.values())
    none = f"none of the {count} runs" if count > 1 else "no run"
    return [*findings, Finding("Failed", "; ".join(failed) or none)]


def _sentence(text: str) -> str:
    """A text as a sentence; "" for none."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _best(comparison: Comparison, key: str) -> Finding | None:
    """Which group is best by the median, if that is beyond what seeds do."""
    known = metric(key)
    left_out = _left_out(comparison, key)
    summaries = {
        group.label: summary
        for group in comparison.groups
        if (summary := group.summaries.get(key)) and summary.sound and group.label not in left_out
    }
    if len(summaries) < 2:
        reasons = " ".join(left_out.values())
        return Finding(TOPICS[key], "not compared", reasons) if reasons else None
    (first, one), (second, other), *_ = sorted(
        summaries.items(), key=lambda item: known.rank(item[1].median)
    )
    judged = verdict(one, other, (first, second))
    numbers = f"Median {key}: {first} {one.text}, next {second} {other.text}; {judged.words}."
    few = min(len(one.values), len(other.values)) < LEAST
    answer = judged.better or ("cannot decide" if few else "not decided")
    if one.median == other.median:
        answer, numbers = "no group alone", f"Median {key}: {one.text} of {first} and of {second}."
    references = [
        f"{name} {known.show(comparison.bounds[f'{bound}/{key}'])}"
        for bound, name in REFERENCES.items()
        if f"{bound}/{key}" in comparison.bounds
    ]
    sentences = [numbers, _sentence(", ".join(references)), *left_out.values()]
    return Finding(TOPICS[key], answer, " ".join(filter(None, sentences)))


def _left_out(comparison: Comparison, key: str) -> dict[str, str]:
    """Groups that cannot be the best at recreating images: label -> why, a sentence."""
    if key not in (ENCODER, QUICK + ENCODER, INVERSION):
        return {}
    reasons = {}
    for group in (group for group in comparison.groups if group.summaries.get(key)):
        size = group.latent_dim
        control = group.summaries.get(CONTROL) if key == INVERSION else None
        if size and size >= comparison.image_size:
            reasons[group.label] = (
                f"{group.label} is left out: its z has {size:,} numbers and an image "
                f"{comparison.image_size:,}, so z can hold the whole image and recreating it is "
                "trivial."
            )
        elif control and control.median > CONVERGED:
            reasons[group.label] = (
                f"{group.label} is left out: its search has not converged "
                f"({control.key} {control.text}, above {CONVERGED:g}), so its error is an upper "
                "limit."
            )
    return reasons


def _seeds(runs: Sequence[Run]) -> str:
    """Seeds as "seed 3" or "seeds 0, 1, 5 to 9": four or more in a row by their ends."""
    rows: list[list[int]] = []
    for seed in sorted({run.seed for run in runs}):
        if rows and seed == rows[-1][-1] + 1:
            rows[-1].append(seed)
        else:
            rows.append([seed])
    parts: list[str] = []
    for row in rows:
        parts += [f"{row[0]} to {row[-1]}"] if len(row) > 3 else map(str, row)
    return f"seed{'s' if len(parts) > 1 or len(rows[0]) > 1 else ''} {', '.join(parts)}"
