"""What is equal between the groups and what is not: data, budget, machine, code."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from gen_models.analysis.groups import Group
from gen_models.analysis.metrics import metric
from gen_models.analysis.runs import Run
from gen_models.analysis.settings import describe, short_name, show_value
from gen_models.runs.identity import model_title

SETTINGS = {  # setting -> its name in the card
    "data": "data set",
    "limit_train_batches": "training images (share, or batches)",
    "batch_size": "batch size",
    "max_epochs": "epochs",
    "precision": "precision",
}
COSTS = (
    "cost/parameters", "cost/sampling_parameters", "cost/flops_per_step", "cost/training_flops",
    "cost/seconds", "cost/images_per_second", "cost/sampling_seconds", "cost/peak_memory_mib",
)  # fmt: skip
EFFORT = (
    "inversion/restarts", "inversion/iterations", "likelihood/importance_samples",
    "likelihood/images",
)  # fmt: skip
MACHINE = ("device", "threads", "machine", "python", "torch", "lightning", "gen-models")
CODE = "code that trained it"
TECHNICAL = {*MACHINE[2:], CODE}  # long names and hashes
UNKNOWN = "-"
PRIOR = "prior"  # where a run has no sampler


class Property(NamedTuple):
    """A row of the card: one property of every group."""

    name: str
    cells: list[str]  # a cell for each group
    equal: Literal["yes", "no", "unknown"]


def card(groups: Sequence[Group]) -> dict[str, list[Property]]:
    """Everything that a comparison should hold equal, or say that it does not.

    Returns:
        In "differs" what differs, of a single group all, in "same" what is the same, and in
        "technical" platforms, versions and hashes, which few read.
    """
    properties = [_properties(group) for group in groups]
    rows = []
    for name in properties[0]:
        values = set(chain.from_iterable(each[name] for each in properties))
        known: Literal["yes", "no"] = "yes" if len(values) == 1 else "no"
        if values not in ({UNKNOWN}, {PRIOR}):
            cells = [", ".join(each[name]) for each in properties]
            rows.append(Property(name, cells, "unknown" if UNKNOWN in values else known))
    technical = [row for row in rows if row.name in TECHNICAL]
    runs = [run for group in groups for run in group.runs]
    if len({run.model for run in runs}) > 1 and not _mixed_code(runs):
        by_model = technical[-1]._replace(name=f"{CODE} (by model)", equal="yes")
        technical[-1] = by_model  # the models have a file each
    plain = [row for row in rows if row.name not in TECHNICAL]
    differs = [row for row in plain if row.equal != "yes" or len(groups) == 1]
    same = [row for row in plain if row not in differs]
    return {"differs": differs, "same": same, "technical": technical}


def notes(runs: Sequence[Run]) -> list[str]:
    """A line for each model trained by more than one code, and for each effort that differs."""
    lines = _mixed_code(runs)
    for key in EFFORT:
        first: dict[float, Run] = {}  # value -> the first run of it
        for run in runs:
            if key in run.metrics and not run.diverged:
                first.setdefault(run.metrics[key], run)
        if len(first) > 1:
            values = ", ".join(f"{value:g} ({run.path})" for value, run in first.items())
            lines.append(f"{key} differs: {values}: measure all alike with gen-models evaluate")
    return lines


def _mixed_code(runs: Sequence[Run]) -> list[str]:
    """A line for each model whose runs were not all trained by the same code."""
    first: dict[str, dict[str, Run]] = {}  # model -> code -> the first run of it
    for run in runs:
        first.setdefault(run.model, {}).setdefault(str(run.record["fingerprint"]), run)
    return [
        f"runs of the {model_title(model)} were trained with different code, for example "
        f"{' and '.join(str(run.path) for run in codes.values())}: overwrite=true trains a run "
        "again"
        for model, codes in first.items()
        if len(codes) > 1
    ]


def other_settings(group: Group) -> str:
    """What a group was trained with besides the card."""
    in_card = {*SETTINGS, "sampler", "model", "max_steps", "limit_val_batches"}
    return ", ".join(
        describe(key, value) if short_name(key) != "activation" else f"activation {value}"
        for key, value in group.settings.items()
        if key not in in_card and value is not None
    )


def _properties(group: Group) -> dict[str, list[str]]:
    """What the card shows of a group: the name of a row -> the different values of its runs."""
    records = [run.record for run in group.runs]
    shown = {SETTINGS[key]: _texts([show_value(group.settings[key])]) for key in SETTINGS}
    shown["sampler"] = _texts(record["sampler"] or PRIOR for record in records)
    shown["training batches"] = _texts(record.get("steps") for record in records)
    for cost in map(metric, COSTS):
        summary = group.summaries.get(cost.key)
        numbers = summary.finite if summary else []
        ends = [cost.show(end(numbers)) for end in (min, max)] if numbers else [UNKNOWN]
        shown[cost.words] = [" to ".join(dict.fromkeys(ends))]
    shown |= {key: _texts(record.get(key) for record in records) for key in MACHINE}
    shown[CODE] = _texts(record["fingerprint"] for record in records)
    return shown


def _texts(values: Iterable[Any]) -> list[str]:
    """The different values, as text."""
    shown = (f"{value:,}" if isinstance(value, int) else str(value or UNKNOWN) for value in values)
    return sorted(set(shown))
