"""What is equal between the groups and what is not: data, budget, machine, code."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gen_models.comparison.collect import Run
from gen_models.comparison.metrics import metric
from gen_models.comparison.table import Group, describe, short_name, show_value

SETTINGS = {  # setting -> what it is called here
    "data": "data set",
    "limit_train_batches": "training images (share, or batches)",
    "batch_size": "batch size",
    "max_epochs": "epochs",
    "precision": "precision",
}
COSTS = [
    "cost/parameters",
    "cost/sampling_parameters",
    "cost/flops_per_step",
    "cost/training_flops",
    "cost/seconds",
    "cost/images_per_second",
    "cost/sampling_seconds",
    "cost/peak_memory_mib",
]
PACKAGES = ["python", "torch", "lightning", "gen-models"]


class Row(NamedTuple):
    """One property of every group."""

    name: str
    cells: list[str]  # a cell for each group
    equal: bool | None  # None: not known of every group


def card(groups: Sequence[Group]) -> list[Row]:
    """Everything that a comparison should hold equal, or say that it does not."""
    rows = [
        _row(name, groups, lambda run, key=key: show_value(run.settings[key]))  # type: ignore[misc]
        for key, name in SETTINGS.items()
    ]
    rows.append(_row("training batches", groups, lambda run: _whole(run.status.get("steps"))))
    rows += [_cost_row(key, groups) for key in COSTS]
    for key, name in (("device", "device"), ("threads", "threads"), ("machine", "machine")):
        rows.append(_row(name, groups, lambda run, key=key: _text(run.status.get(key))))  # type: ignore[misc]
    rows += [
        _row(package, groups, lambda run, p=package: _text(run.status.get("versions", {}).get(p)))  # type: ignore[misc]
        for package in PACKAGES
    ]
    rows.append(_row("code that trained it", groups, lambda run: _text(run.status["fingerprint"])))
    mixed = mixed_fingerprints(groups)
    models = {group.model for group in groups}
    code = rows[-1]
    if not mixed and len(models) > 1:  # each model's file is its own
        rows[-1] = code._replace(name="code that trained it (by model)", equal=True)
    return [row for row in rows if any(cell != "-" for cell in row.cells)]


def mixed_fingerprints(groups: Sequence[Group]) -> list[str]:
    """A line for each model whose runs were not all trained by the same code."""
    lines = []
    for model in dict.fromkeys(group.model for group in groups):
        found: dict[str, Run] = {}
        for run in (run for group in groups if group.model == model for run in group.runs):
            found.setdefault(str(run.status["fingerprint"]), run)
        if len(found) > 1:
            named = ", ".join(f"{print_} ({run.path})" for print_, run in found.items())
            lines.append(
                f"runs of the {model.upper()} were trained by different code: {named}: "
                "overwrite=true trains a run again"
            )
    return lines


def other_settings(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """For each group, what it was trained with beside the card: (label, words)."""
    told = set(SETTINGS) | {"model", "max_steps", "limit_val_batches"}
    return [
        (
            group.label,
            ", ".join(
                describe(key, value) if short_name(key) != "activation" else f"activation {value}"
                for key, value in group.settings.items()
                if key not in told and value is not None
            ),
        )
        for group in groups
    ]


def _row(name: str, groups: Sequence[Group], cell: Callable[[Run], str]) -> Row:
    values = [sorted({cell(run) for run in group.runs}) for group in groups]
    every = {value for some in values for value in some}
    equal = None if "-" in every else len(every) == 1
    return Row(name, [", ".join(some) for some in values], equal)


def _cost_row(key: str, groups: Sequence[Group]) -> Row:
    of = metric(key)
    cells, means = [], []
    for group in groups:
        found = group.summary(key)
        estimate = found.estimate if found else None
        means.append(estimate.value if estimate else None)
        ends = [of.show(end(found.finite)) for end in (min, max)] if found and estimate else []
        cells.append(ends[0] if len(set(ends)) == 1 else " to ".join(ends) or "-")
    name = f"{of.meaning}{f', {of.unit}' if of.unit else ''}"
    return Row(name, cells, None if None in means else len(set(cells)) == 1)


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
