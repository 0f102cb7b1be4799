"""What is equal between the groups and what is not: data, budget, machine, code."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from gen_models.comparison.collect import Run
from gen_models.comparison.metrics import metric
from gen_models.comparison.settings import describe, short_name, show_value
from gen_models.comparison.table import Group
from gen_models.runs.sampler import sampler_measured_with

SETTINGS = {  # setting -> what it is called here
    "data": "data set",
    "limit_train_batches": "training images (share, or batches)",
    "batch_size": "batch size",
    "max_epochs": "epochs",
    "precision": "precision",
}
COSTS = (
    "cost/parameters",
    "cost/sampling_parameters",
    "cost/flops_per_step",
    "cost/training_flops",
    "cost/seconds",
    "cost/images_per_second",
    "cost/sampling_seconds",
    "cost/peak_memory_mib",
)
EFFORT = (
    "inversion/restarts",
    "inversion/iterations",
    "likelihood/importance_samples",
    "likelihood/images",
)
MACHINE = ("device", "threads", "machine")
PACKAGES = ("python", "torch", "lightning", "gen-models")
CODE = "code that trained it"
UNKNOWN = "-"
PRIOR = "prior"  # where a run has no sampler


class Row(NamedTuple):
    """One property of every group."""

    name: str
    cells: list[str]  # a cell for each group
    equal: Literal["yes", "no", "unknown"]


def card(groups: Sequence[Group]) -> list[Row]:
    """Everything that a comparison should hold equal, or say that it does not."""
    told = [_properties(group) for group in groups]
    rows = []
    for name in told[0]:
        cells = [", ".join(properties[name]) for properties in told]
        values = set(chain.from_iterable(properties[name] for properties in told))
        known: Literal["yes", "no"] = "yes" if len(values) == 1 else "no"
        if values not in ({UNKNOWN}, {PRIOR}):
            rows.append(Row(name, cells, "unknown" if UNKNOWN in values else known))
    if len({group.model for group in groups}) > 1 and not mixed_fingerprints(groups):
        rows[-1] = Row(f"{CODE} (by model)", rows[-1].cells, "yes")  # each model's file is its own
    return rows


def mixed_fingerprints(groups: Sequence[Group]) -> list[str]:
    """A line for each model whose runs were not all trained by the same code."""
    first: dict[str, dict[str, Run]] = {}  # model -> code -> the first run of it
    for run in chain.from_iterable(group.runs for group in groups):
        first.setdefault(run.model, {}).setdefault(str(run.status["fingerprint"]), run)
    return [
        f"runs of the {model.upper()} were trained by different code: "
        f"{', '.join(f'{code} ({run.path})' for code, run in found.items())}: "
        "overwrite=true trains a run again"
        for model, found in first.items()
        if len(found) > 1
    ]


def mixed_effort(groups: Sequence[Group]) -> list[str]:
    """A line for each option of `gen-models evaluate` that runs were not measured with alike."""
    notes = []
    for key in EFFORT:
        first: dict[float, Run] = {}  # value -> the first run of it
        for run in chain.from_iterable(group.runs for group in groups):
            if key in run.metrics and not run.diverged:
                first.setdefault(run.metrics[key], run)
        if len(first) > 1:
            values = ", ".join(f"{value:g} ({run.path})" for value, run in first.items())
            notes.append(f"{key} differs: {values}: gen-models evaluate all alike")
    return notes


def other_settings(group: Group) -> str:
    """What a group was trained with besides the card."""
    told = {*SETTINGS, "sampler", "model", "max_steps", "limit_val_batches"}
    return ", ".join(
        describe(key, value) if short_name(key) != "activation" else f"activation {value}"
        for key, value in group.settings.items()
        if key not in told and value is not None
    )


def _properties(group: Group) -> dict[str, list[str]]:
    """What the card tells of a group: the name of a row -> the different values of its runs."""
    runs = group.runs
    found = {
        name: _texts(show_value(run.settings[key]) for run in runs)
        for key, name in SETTINGS.items()
    }
    found["sampler"] = _texts(sampler_measured_with(run.status) or PRIOR for run in runs)
    found["training batches"] = _texts(run.status.get("steps") for run in runs)
    for cost in map(metric, COSTS):
        summary = group.summary(cost.key)
        numbers = summary.finite if summary else []
        ends = [cost.show(end(numbers)) for end in (min, max)] if numbers else [UNKNOWN]
        found[cost.words] = [" to ".join(dict.fromkeys(ends))]
    found |= {key: _texts(run.status.get(key) for run in runs) for key in MACHINE}
    found |= {name: _texts(run.status["versions"].get(name) for run in runs) for name in PACKAGES}
    found[CODE] = _texts(run.status["fingerprint"] for run in runs)
    return found


def _texts(values: Iterable[Any]) -> list[str]:
    return sorted({UNKNOWN if value is None else _text(value) for value in values})


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
