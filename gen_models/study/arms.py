"""Arms of a study: which groups of runs are of one, and which of those may be compared.

Settings that vary between the study's arms decide to which of them a group belongs. All others may
depart from the arm's, as long as they are alike in all groups that are compared: nothing but the
contrast differs, and the departures are named.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gen_models.comparison.settings import MIRRORED, canonical, describe, show_value
from gen_models.comparison.table import Group
from gen_models.errors import UserError, one_line
from gen_models.runs.identity import identity
from gen_models.study.definition import Study, spread

Compose = Callable[[list[str]], dict[str, Any]]  # overrides of train.py -> resolved configuration
Settings = dict[str, Any]  # of a group of runs: `identity` without the seed

ALWAYS_SHARED = {"model", "data", "max_steps", "limit_train_batches"}


class Missing(Exception):
    """Runs or metrics that a claim needs are not there."""

    def __init__(self, lines: list[str], commands: Iterable[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines, self.commands = lines, list(dict.fromkeys(commands))


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to train, over all seeds."""

    label: str  # "GAN, layers 256-512-1024, 50 epochs"
    settings: Settings
    varying: frozenset[str]  # the settings in which the study's arms differ
    command: str  # that trains it

    @property
    def model(self) -> str:
        """The model's class in lower case."""
        return str(self.settings["model"])

    def matches(self, group: Group) -> bool:
        """Whether the group's runs are of this arm."""
        keys = self.varying | ALWAYS_SHARED
        return all(group.settings.get(key) == self.settings[key] for key in keys)

    def departures(self, group: Group) -> list[str]:
        """In words, the group's settings that are not the arm's."""
        return [
            describe(key, group.settings[key])
            for key, value in self.settings.items()
            if key not in self.varying and group.settings.get(key, value) != value
        ]


def compose_arms(study: Study, compose: Compose) -> dict[str, list[Arm]]:
    """The arms by their names in the study; several where an override has several values.

    Raises:
        UserError: Overrides do not compose, or two arms are the same or of different data sets.
    """
    composed = {name: _settings(study, name, compose) for name in study.arms}
    every = [(name, settings) for name, family in composed.items() for settings in family]
    for (name, settings), (other, others) in itertools.combinations(every, 2):
        place = f"{study.file}: arms.{name} and arms.{other}"
        if settings == others:
            raise UserError(f"{place}: have a run in common: take it out of one of them")
        if settings["data"] != others["data"]:
            raise UserError(f"{place}: are of different data sets: make a study of each")
    return {
        name: [_arm(one, [other for _, other in every], study.command(name)) for one in family]
        for name, family in composed.items()
    }


def select(groups: Sequence[Group], arms: Sequence[Arm]) -> dict[Arm, Group]:
    """One group for each arm, alike in all that does not vary between the arms.

    Where several would do, that with the fewest departures from its arm.

    Raises:
        Missing: An arm has no runs, or none that match the others'.
    """
    found = {arm: [group for group in groups if arm.matches(group)] for arm in arms}
    without = [arm for arm, candidates in found.items() if not candidates]
    if without:
        lines = [f"no runs: {arm.label}" for arm in without]
        raise Missing(lines, [arm.command for arm in without])
    for arm, candidates in found.items():
        candidates.sort(key=lambda group: len(arm.departures(group)))
    for first in found[arms[0]]:
        chosen = {arms[0]: first}
        for arm, candidates in found.items():
            alike = (group for group in candidates if _alike(first, group, arm.varying))
            if group := next(alike, None):
                chosen.setdefault(arm, group)
        if len(chosen) == len(found):
            return chosen
    names = " and ".join(arm.label for arm in found)
    lines = [f"no runs that differ in nothing else: {names}"]
    raise Missing(lines, [arm.command for arm in found])


def in_words(one: Arm, other: Arm) -> tuple[str, str]:
    """Two arms by the settings in which they differ: "lr 0.0002" and "0.0001"."""
    if one.model != other.model:
        return one.label, other.label
    keys = [key for key in one.settings if one.settings[key] != other.settings[key]]
    first, second = (
        ", ".join(describe(key, arm.settings[key]) for key in keys) for arm in (one, other)
    )
    return first, show_value(other.settings[keys[0]]) if len(keys) == 1 else second


def _settings(study: Study, name: str, compose: Compose) -> list[Settings]:
    try:
        composed = [identity(compose(overrides)) for overrides in spread(study.arms[name])]
    except Exception as error:  # of Hydra, which this room does not know
        place = f"{study.file}: arms.{name}"
        raise UserError(f"{place}: {one_line(error)}: not what train.py takes") from error
    every = [canonical(one) for one in composed]
    return [{key: value for key, value in one.items() if key != "seed"} for one in every]


def _arm(settings: Settings, every: list[Settings], command: str) -> Arm:
    same_model = [other for other in every if other["model"] == settings["model"]]
    varying = {
        key
        for key, value in settings.items()
        for other in (same_model if key.startswith("model.") else every)
        if other[key] != value
    }
    words = [
        describe(key, value)
        for key, value in settings.items()
        if key in varying and key != "model" and value is not None
    ]
    label = ", ".join([settings["model"].upper(), *words])
    mirrors = {mirror for mirror, source in MIRRORED.items() if source in varying}
    return Arm(label, settings, frozenset(varying | mirrors), command)


def _alike(one: Group, other: Group, varying: frozenset[str]) -> bool:
    keys = one.settings.keys() & other.settings.keys() - varying
    if one.model != other.model:
        keys = {key for key in keys if not key.startswith("model")}
    return all(one.settings[key] == other.settings[key] for key in keys)
