"""The result of a comparison in sentences with numbers, as the report begins."""

from collections.abc import Sequence

from gen_models.analysis.groups import Group
from gen_models.analysis.metrics import FID, QUICK, metric
from gen_models.analysis.runs import Run
from gen_models.comparison.compare import Comparison
from gen_models.comparison.verdicts import verdict

REFERENCES = {"floor": "real images have", "gaussian": "a crude Gaussian"}


def compared(comparison: Comparison) -> str:
    """The groups and their seeds."""
    seeds = {group.label: _seeds(group.runs) for group in comparison.groups}
    first, *others = set(seeds.values())
    if others:
        return "; ".join(f"{label} ({numbers})" for label, numbers in seeds.items()) + "."
    return f"{'; '.join(seeds)}: {first}{' each' if len(seeds) > 1 else ''}."


def result(comparison: Comparison) -> list[str]:
    """The best setting of each sweep, or the best group and how many runs failed."""
    lines = [line for sweep in comparison.sweeps for line in sweep.lines]
    sentences = list(dict.fromkeys(f"{line.label}: {line.best}." for line in lines if line.best))
    if not sentences:
        sentences = [_best(comparison, key) for key in (FID, QUICK + FID, "coverage")]
        sentences += map(_failed, comparison.groups)
    return [sentence for sentence in sentences if sentence]


def _best(comparison: Comparison, key: str) -> str:
    """Which group is best by the median, and whether that is beyond seed noise."""
    known = metric(key)
    summaries = [(group.summary(key), group) for group in comparison.groups]
    medians = [(each.median, group) for each, group in summaries if each and each.sound]
    if len(medians) < 2:
        return ""
    ranked = sorted(medians, key=lambda pair: known.rank(pair[0]))
    (least, first), (next_least, second) = ranked[:2]
    references = [
        f"{name} {known.show(comparison.bounds[f'{bound}/{key}'])}"
        for bound, name in REFERENCES.items()
        if f"{bound}/{key}" in comparison.bounds
    ]
    where = f", where {' and '.join(references)}" if references else ""
    against = verdict(first, second, key)
    assert against is not None
    which, pair = first.label, f"against the next, {second.label}"
    if least == next_least:
        which, pair = "No group alone", f"{first.label} and {second.label}"
    return f"{which} has the {known.better_word} median of {key}{where}; {pair}: {against.text}."


def _failed(group: Group) -> str:
    """How many runs of a group failed."""
    measured = [run for run in group.runs if run.measured]
    failed = [run for run in measured if run.failed]
    if not failed:
        return ""
    return f"{group.label}: {len(failed)} of {len(measured)} runs failed ({_seeds(failed)})."


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
