"""The answer of a comparison: a few findings with their numbers, as the report begins."""

from collections.abc import Sequence
from typing import NamedTuple

from gen_models.analysis.groups import Group, measured
from gen_models.analysis.metrics import CONTROL, CONVERGED, ENCODER, FID, INVERSION, QUICK, metric
from gen_models.analysis.runs import Run
from gen_models.comparison.compare import Comparison
from gen_models.comparison.verdicts import verdict

TOPICS = {  # metric -> what it decides
    FID: "Most realistic new images",
    QUICK + FID: "Most realistic new images",
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
    if len(set(seeds.values())) > 1:
        return f"{'; '.join(f'{label} ({numbers})' for label, numbers in seeds.items())}."
    return f"{'; '.join(seeds)}: {[*seeds.values()][0]}{' each' * (len(seeds) > 1)}."


def result(comparison: Comparison) -> list[Finding]:
    """The best setting of each sweep, or the best group at each; and how many runs failed."""
    best: dict[Finding, None] = {}  # each once: two metrics may say the same
    for line in (line for sweep in comparison.sweeps for line in sweep.lines if line.best):
        answer, _, numbers = line.best.partition("; ")
        best[Finding(line.label, answer, _sentence(numbers))] = None
    if best:
        return [*best]
    known = measured(comparison.groups)
    keys = [key for key in TOPICS if key != QUICK + ENCODER or ENCODER not in known]
    findings = [finding for key in keys if (finding := _best(comparison, key))]
    failed = [
        f"{len(group.failed)} of {len(group.measured)} runs of {group.label} "
        f"({_seeds(group.failed)})"
        for group in comparison.groups
        if group.failed
    ]
    count = sum(run.measured for run in comparison.runs)
    none = f"none of the {count} runs" if count > 1 else "no run"
    return [*findings, Finding("Failed", "; ".join(failed) or none)]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _best(comparison: Comparison, key: str) -> Finding | None:
    """Which group is best by the median, if that is beyond what seeds do."""
    known, topic = metric(key), TOPICS[key]
    if key == QUICK + FID:
        topic += f" (of {comparison.quick_images})"
    groups = [group for group in comparison.groups if key in group.summaries]
    left_out = {
        group.label: reason for group in groups if (reason := _why_not(comparison, group, key))
    }
    candidates = [group for group in groups if group.label not in left_out]
    candidates.sort(key=lambda group: known.rank(group.summaries[key].median))
    candidates.sort(key=lambda group: not group.summaries[key].sound)  # those that failed come last
    if len(candidates) < 2 or not candidates[0].summaries[key].sound:
        return Finding(topic, "not compared", " ".join(left_out.values())) if left_out else None
    first, second, *_ = candidates
    one, other = first.summaries[key], second.summaries[key]
    judged = verdict(one, other, (first.label, second.label))
    answer = judged.better or ("cannot decide" if judged.few else "not decided")
    numbers = f"{first.label} {one.text}, next {second.label} {other.text}; {judged.words}"
    if one.median == other.median:
        answer, numbers = "no group alone", f"{one.text} of {first.label} and of {second.label}"
    references = [
        f"{name} {known.show(comparison.bounds[f'{bound}/{key}'])}"
        for bound, name in REFERENCES.items()
        if f"{bound}/{key}" in comparison.bounds
    ]
    sentences = [f"Median {key}: {numbers}.", _sentence(", ".join(references)), *left_out.values()]
    return Finding(topic, answer, " ".join(filter(None, sentences)))


def _why_not(comparison: Comparison, group: Group, key: str) -> str:
    """Why a group cannot be the best at recreating images, a sentence; "" if it can."""
    size, control = group.latent_dim, group.summaries.get(CONTROL)
    if key in (ENCODER, QUICK + ENCODER, INVERSION) and size and size >= comparison.image_size:
        return (
            f"{group.label} is left out: its z has {size:,} numbers and an image "
            f"{comparison.image_size:,}, so z can hold the whole image and recreating it is "
            "trivial."
        )
    if key == INVERSION and control and control.median > CONVERGED:
        return (
            f"{group.label} is left out: its search has not converged "
            f"({control.key} {control.text}, above {CONVERGED:g}), so its error is an upper limit."
        )
    return ""


def _seeds(runs: Sequence[Run]) -> str:
    """Seeds as "seed 3" or "seeds 0, 1, 5 to 9": four or more in a row by their ends."""
    rows: list[list[int]] = []
    for seed in sorted({run.seed for run in runs}):
        if rows and seed == rows[-1][-1] + 1:
            rows[-1].append(seed)
        else:
            rows.append([seed])
    parts = [f"{r[0]} to {r[-1]}" if len(r) > 3 else ", ".join(map(str, r)) for r in rows]
    return f"seed{'s' * (rows != [rows[0][:1]])} {', '.join(parts)}"
