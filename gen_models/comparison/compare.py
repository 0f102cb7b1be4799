"""Many runs -> everything that is said of them: groups, verdicts, sweeps, what to mind.

And the result in sentences with numbers, as the report begins.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_models.comparison import fairness, table
from gen_models.comparison.collect import Run, find_runs
from gen_models.comparison.metrics import ENCODER, FID, HEADLINES, INVERSION, QUICK, metric
from gen_models.comparison.sweep import Sweep, sweeps
from gen_models.comparison.table import NAMES, Group
from gen_models.comparison.verdicts import Pair, judge, verdict

REFERENCES = {"floor": "real images have", "gaussian": "a PCA Gaussian"}
WAYS = {ENCODER: "its encoder", INVERSION: "inversion"}


@dataclass(frozen=True)
class Comparison:
    """What the report tells."""

    command: str  # that made it
    groups: list[Group]
    bounds: dict[str, float]  # floor/..., gaussian/..., noise/..., real/...
    recreations: dict[str, float]  # what recreates images without a model -> squared error
    notes: list[str]  # what is left out, or what to mind, one line each
    verdicts: list[Pair]
    sweeps: list[Sweep]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.groups[0].settings["data"])

    @property
    def main(self) -> list[Group]:
        """The phases themselves; all variants of one that was not given without options."""
        return [
            group
            for family in table.families(self.groups)
            for group in family
            if group.reference or not any(each.reference for each in family)
        ]

    @property
    def headlines(self) -> list[str]:
        """The metrics of the main table; those of 2,000 samples in columns of their own."""
        measured = table.measured(self.groups)
        return [key for key in HEADLINES if key in measured]


def compare(paths: Sequence[str | Path], by: str | None = None) -> Comparison:
    """Read runs and say all that can be said of them.

    Args:
        paths: Run directories, or folders of them.
        by: A setting to draw metrics against, as typed on the command line of training.

    Raises:
        UserError: Bad input; one line.
    """
    found = find_runs(paths)
    groups = table.group_runs(found.runs)
    bounds, notes = table.bounds(groups)
    notes += [
        f"{run.path}: diverged: {run.status.get('error', 'a loss was not finite')}"
        for group in groups
        for run in group.runs
        if run.diverged
    ]
    keys = [key for key in table.measured(groups) if metric(key).better]
    return Comparison(
        command=shlex.join(
            ["gen-models", "compare", *map(str, paths), *(["--by", by] if by else [])]
        ),
        groups=groups,
        bounds=bounds,
        recreations=table.recreations(groups),
        notes=[
            *found.notes,
            *notes,
            *fairness.mixed_fingerprints(groups),
            *fairness.mixed_effort(groups),
        ],
        verdicts=judge(groups, keys, bounds),
        sweeps=sweeps(groups, by) if by is not None else [],
    )


def compared(comparison: Comparison) -> str:
    """The groups and their seeds."""
    seeds = {}
    for group in comparison.groups:
        seeds[group.label] = _seeds(group.runs)
    first, *others = set(seeds.values())
    if others:
        return "; ".join(f"{label} ({numbers})" for label, numbers in seeds.items()) + "."
    return f"{'; '.join(seeds)}: {first}{' each' if len(seeds) > 1 else ''}."


def result(comparison: Comparison) -> list[str]:
    """The best setting of each sweep, or the best group, failures, recreation and cost."""
    lines = [line for sweep in comparison.sweeps for line in sweep.lines]
    said = list(dict.fromkeys(f"{line.label}: {line.best}." for line in lines if line.best))
    if not said:
        said = [_best(comparison, key) for key in (FID, QUICK + FID, "coverage")]
        said += map(_failed, comparison.groups)
        said += [_recreated(comparison), _cost(comparison.main)]
    return [sentence for sentence in said if sentence]


def _best(comparison: Comparison, key: str) -> str:
    """Which group is best by the median, and whether that is beyond seed noise."""
    known = metric(key)
    ranked = sorted(
        (known.rank(value), place)
        for place, group in enumerate(comparison.groups)
        if (value := group.median(key)) is not None
    )
    if len(ranked) < 2:
        return ""
    first, second = (comparison.groups[place] for _, place in ranked[:2])
    references = [
        f"{name} {known.show(comparison.bounds[f'{bound}/{key}'])}"
        for bound, name in REFERENCES.items()
        if f"{bound}/{key}" in comparison.bounds
    ]
    where = f", where {' and '.join(references)}" if references else ""
    told = verdict(first, second, key)
    assert told is not None
    same = ranked[0][0] == ranked[1][0]
    which = "No group alone" if same else first.label
    next_one = f"{first.label} and {second.label}" if same else f"against the next, {second.label}"
    return f"{which} has the {known.better_word} median of {key}{where}; {next_one}: {told.text}."


def _failed(group: Group) -> str:
    """How many runs failed: what is told of the others is of those that did not."""
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


def _recreated(comparison: Comparison) -> str:
    """How well each model recreates test images: by its encoder, or without one by inversion."""
    parts = []
    for model in dict.fromkeys(group.model for group in comparison.groups):
        family = [group for group in comparison.groups if group.model == model]
        key = ENCODER if any(group.summary(ENCODER) for group in family) else INVERSION
        errors = [(e, group.label) for group in family if (e := group.median(key)) is not None]
        if errors:
            error, label = min(errors)
            parts.append(f"{metric(key).show(error)} by {label} ({WAYS[key]})")
    if not parts:
        return ""
    known = [
        f"{name} {metric(INVERSION).show(error)}"
        for name, error in comparison.recreations.items()
        if name != NAMES["mean_image"]
    ]
    rest = f"; without a model: {', '.join(known)}" if known else ""
    return f"Test images are recreated with a squared error of {', '.join(parts)}{rest}."


def _cost(groups: Sequence[Group]) -> str:
    """How long each group trained."""
    seconds = metric("cost/seconds")
    parts = [
        f"{group.label} {seconds.show(usual)} s"
        for group in groups
        if (usual := group.median(seconds.key)) is not None
    ]
    return f"Training took: {', '.join(parts)}." if parts else ""
