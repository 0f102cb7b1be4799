"""What is equal between the groups and what is not: data, budget, machine, code."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from gen_models.analysis.groups import Group
from gen_models.analysis.metrics import metric
from gen_models.analysis.runs import Run
from gen_models.analysis.settings import describe, short_name, show_value
from gen_models.errors import UserError
from gen_models.runs.identity import model_title

SETTINGS = {  # setting -> its name in the card
    "data": "data set",
    "limit_train_batches": "training images (share, or batches)",
    "batch_size": "batch size",
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
TECHNICAL = (*MACHINE[2:], CODE)  # long names and hashes
UNKNOWN = "-"
PRIOR = "prior"  # where a run has no sampler


class Property(NamedTuple):
    """A row of the card: one property of every group."""

    name: str
    cells: list[str]  # a cell for each group
    equal: str  # "yes", "no" or "unknown"


def card(groups: Sequence[Group]) -> dict[str, list[Property]]:
    """Everything that a comparison should hold equal, or say that it does not.

    Returns:
        In "differs" what differs, of a single group all, in "same" what is the same, and in
        "technical" platforms, versions and hashes, which few read.
    """
    properties = [_properties(group) for group in groups]
    runs = [run for group in groups for run in group.runs]
    a_code_each = len({run.model for run in runs}) > 1 and not _mixed_code(runs)
    rows: dict[str, list[Property]] = {"differs": [], "same": [], "technical": []}
    for name in properties[0]:
        values = set(chain.from_iterable(each[name] for each in properties))
        equal = "unknown" if UNKNOWN in values else "yes" if len(values) == 1 else "no"
        row = Property(name, [", ".join(each[name]) for each in properties], equal)
        if name == CODE and a_code_each:  # the models have a file each
            row = row._replace(name=f"{CODE} (by model)", equal="yes")
        differs = "differs" if equal != "yes" or len(groups) == 1 else "same"
        if values not in ({UNKNOWN}, {PRIOR}):
            rows["technical" if name in TECHNICAL else differs].append(row)
    return rows


def check(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be compared.

    Raises:
        UserError: Runs of several data sets or features; two with the same settings and seed.
    """
    # images of the user's own have a digest
    sets = [(run.settings["data"], run.record.get("data", {}).get("digest")) for run in runs]
    if data := _differing(zip(sets, runs, strict=True)):
        named = _named((name, run) for (name, _), run in data.items())
        raise UserError(f"runs on different data sets: {named}: compare each data set apart")
    if features := _differing((name, run) for run in runs for name in run.features):
        raise UserError(
            "runs whose distances are measured in different features: "
            f"{_named(features.items())}: gen-models evaluate all of them again, or compare them "
            "apart"
        )
    known: dict[Any, Run] = {}
    for run in runs:
        first = known.setdefault((run.seed, *run.settings.items()), run)
        if first is not run:
            raise UserError(
                f"{first.path} and {run.path}: the same settings and seed in two folders: name one "
                "of them"
            )


def notes(runs: Sequence[Run]) -> list[str]:
    """A line for each model trained by more than one code, and for each effort that differs."""
    lines = _mixed_code(runs)
    for key in EFFORT:
        own = (run for run in runs if key in run.metrics and not run.diverged)
        if efforts := _differing((f"{run.metrics[key]:g}", run) for run in own):
            named = _named(efforts.items())
            lines.append(f"{key} differs: {named}: measure all alike with gen-models evaluate")
    return lines


def other_settings(group: Group) -> str:
    """What a group was trained with besides the card."""
    in_card = {*SETTINGS, "max_epochs", "sampler", "model", "max_steps", "limit_val_batches"}
    words = (
        describe(key, value) if short_name(key) != "activation" else f"activation {value}"
        for key, value in group.settings.items()
        if key not in in_card and value is not None
    )
    return ", ".join(filter(None, words))


def _mixed_code(runs: Sequence[Run]) -> list[str]:
    """A line for each model whose runs were not all trained by the same code."""
    lines = []
    for model in dict.fromkeys(run.model for run in runs):
        own = (run for run in runs if run.model == model)
        if codes := _differing((run.record["fingerprint"], run) for run in own):
            lines.append(
                f"runs of the {model_title(model)} were trained with different code, for example "
                f"{' and '.join(str(run.path) for run in codes.values())}: overwrite=true trains "
                "a run again"
            )
    return lines


def _differing(pairs: Iterable[tuple[Any, Run]]) -> dict[Any, Run]:
    """The first run of each value, if there is more than one value."""
    first: dict[Any, Run] = {}
    for value, run in pairs:
        first.setdefault(value, run)
    return first if len(first) > 1 else {}


def _named(runs: Iterable[tuple[str, Run]]) -> str:
    return ", ".join(f"{value} ({run.path})" for value, run in runs)


def _properties(group: Group) -> dict[str, list[str]]:
    """What the card shows of a group: the name of a row -> the different values of its runs."""
    records = [run.record for run in group.runs]
    shown = {SETTINGS[key]: _texts([show_value(group.settings[key])]) for key in SETTINGS}
    epochs = [
        run.settings["max_epochs"] if run.diverged else run.record.get("epoch")
        for run in group.runs
    ]
    shown["epochs"] = _texts(epochs)  # fewer than the settings have where it stopped early
    shown["sampler"] = _texts(record["sampler"] or PRIOR for record in records)
    shown["training batches"] = _texts(record.get("steps") for record in records)
    for cost in map(metric, COSTS):
        summary = group.summaries.get(cost.key)
        shown[cost.words] = [(summary.ends if summary else "") or UNKNOWN]
    shown |= {key: _texts(record.get(key) for record in records) for key in MACHINE}
    shown[CODE] = _texts(record["fingerprint"] for record in records)
    return shown


def _texts(values: Iterable[Any]) -> list[str]:
    """The different values, as text."""
    shown = (f"{value:,}" if isinstance(value, int) else str(value or UNKNOWN) for value in values)
    return sorted(set(shown))
