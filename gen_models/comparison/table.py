"""Runs that differ only by seed become a group with a name; all figures, one table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from gen_models.comparison import statistics
from gen_models.comparison.collect import MIRRORED, Run
from gen_models.comparison.metrics import BOUNDS, is_measure, order
from gen_models.comparison.statistics import Estimate

HIDDEN_DIMS = "hidden_dims"  # of generator or encoder, as in conf/config.yaml


class Summary(NamedTuple):
    """One metric of one group."""

    estimate: Estimate | None  # over the seeds that stayed finite; None if there is none
    values: dict[int, float]  # seed -> figure, NaN where the run diverged

    @property
    def diverged(self) -> int:
        """How many runs have no finite figure."""
        return sum(not math.isfinite(value) for value in self.values.values())

    @property
    def finite(self) -> list[float]:
        """The figures of the runs that stayed finite, by seed."""
        return [value for value in self.values.values() if math.isfinite(value)]


@dataclass(frozen=True)
class Group:
    """Runs that differ only by their seed."""

    label: str  # "GAN final, lr 0.0005"
    settings: dict[str, Any]  # without the seed
    runs: tuple[Run, ...]  # by seed
    reference: bool  # stands for its model and phase in verdicts

    @property
    def model(self) -> str:
        """The model's class in lower case."""
        return self.runs[0].model

    @property
    def phase(self) -> str:
        """The phase of the first run."""
        return self.runs[0].phase

    def summary(self, key: str) -> Summary | None:
        """Mean and interval of a metric over the seeds; None if no run has it."""
        values = {run.seed: run.metrics[key] for run in self.runs if key in run.metrics}
        if not values:
            return None
        finite = [value for value in values.values() if math.isfinite(value)]
        return Summary(statistics.mean(finite) if finite else None, values)


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by everything but the seed, and name the groups apart.

    The reference of a model and phase is the run that its folder calls `seedN`, the phase without
    further options, or the only group. Other groups are named by what differs from it.
    """
    members: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        key = tuple((name, value) for name, value in run.settings.items() if name != "seed")
        members.setdefault(key, []).append(run)
    families: dict[tuple[str, str], list[tuple[dict[str, Any], list[Run]]]] = {}
    for key, same in members.items():
        same.sort(key=lambda run: run.seed)
        families.setdefault((same[0].model, same[0].phase), []).append((dict(key), same))
    groups = []
    for (model, phase), family in sorted(families.items()):
        plain = [settings for settings, same in family if any(map(_is_plain, same))]
        reference = plain[0] if len(plain) == 1 else None
        changed = varying([settings for settings, _ in family])
        named = []
        for settings, same in family:
            keys = [k for k in changed if reference is None or settings[k] != reference[k]]
            words = [describe(key, settings[key]) for key in keys]
            label = ", ".join([f"{model.upper()} {phase}", *words])
            at = (settings is not reference, [sortable(settings[key]) for key in keys])
            named.append((at, label, settings, same))
        named.sort(key=lambda entry: entry[0])
        for _, label, settings, same in named:
            alone = len(named) == 1 or settings is reference
            groups.append(Group(label, settings, tuple(same), reference=alone))
    return groups


def varying(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose value is not the same in all of them."""
    return [k for k in settings[0] if any(other[k] != settings[0][k] for other in settings)]


def short_name(key: str) -> str:
    """A setting as it is typed: "model.lr" -> "lr", the widths of both networks "hidden_dims"."""
    return HIDDEN_DIMS if key in MIRRORED.values() else key.removeprefix("model.")


def show_value(value: Any) -> str:
    """A setting's value for a person: (256, 512) -> "256-512"."""
    if isinstance(value, tuple):
        return "-".join(f"{part:g}" for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def describe(key: str, value: Any) -> str:
    """A setting in words: "lr 0.0005", "50 epochs", "layers 256-512"."""
    text = show_value(value)
    name = short_name(key)
    if name == "max_epochs":
        return f"{text} epochs"
    if name == HIDDEN_DIMS:
        return f"layers {text}"
    return text if name == "activation" else f"{name} {text}"


def long_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Every figure of every run: columns run, group, seed, metric, value (NaN: diverged)."""
    rows = [
        (str(run.path), group.label, run.seed, key, float(run.metrics[key]))
        for group in groups
        for run in group.runs
        for key in sorted(run.metrics, key=order)
    ]
    return pd.DataFrame(rows, columns=["run", "group", "seed", "metric", "value"])


def measured(groups: Sequence[Group]) -> list[str]:
    """All metrics that some run has, in the order of `metrics.py`."""
    keys = {key for group in groups for run in group.runs for key in run.metrics}
    return sorted(filter(is_measure, keys), key=order)


def bounds(groups: Sequence[Group]) -> tuple[dict[str, float], list[str]]:
    """Floors and ceilings, "floor/fid_lenet" and so on, and a note where runs disagree on one.

    They are the same for every run on a data set unless another classifier read the images.
    """
    found: dict[str, tuple[float, Run]] = {}
    for run in (run for group in groups for run in group.runs):
        for key, value in run.metrics.items():
            which = set(key.split("/")[:-1]) & set(BOUNDS)
            if not which:
                continue
            whole = [*which, *(part for part in key.split("/") if part not in which)]
            first, where = found.setdefault("/".join(whole), (value, run))
            if not math.isclose(first, value, rel_tol=0.02, abs_tol=1e-3):
                note = (
                    f"{run.path}: its {key} is {value:.4g}, that of {where.path} {first:.4g}: not "
                    "measured by the same classifier: gen-models evaluate both again"
                )
                return {key: value for key, (value, _) in found.items()}, [note]
    return {key: value for key, (value, _) in found.items()}, []


def _is_plain(run: Run) -> bool:
    return run.path.resolve().name == f"seed{run.seed}"


def sortable(value: Any) -> tuple[int, float, str]:
    """Sorts settings: numbers by size, then widths by depth, then words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, len(value) if isinstance(value, tuple) else 0, show_value(value))
