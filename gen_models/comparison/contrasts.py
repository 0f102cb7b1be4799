"""What deciding a claim takes: the runs that a contrast needs, and how it comes out.

Only MNIST runs on all training images to the last epoch count. Two groups are set against one
another only if nothing but the contrast differs: precision, batch size, and within a model every
other argument.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gen_models.comparison.metrics import metric
from gen_models.comparison.statistics import Estimate, mean, paired, welch
from gen_models.comparison.table import Group, Summary, describe
from gen_models.comparison.verdicts import in_words, seeds
from gen_models.gan import GAN
from gen_models.vae import VAE

Outcome = Literal["supported", "contradicted", "not distinguishable", "not answered"]

UNANSWERED = "not answered by these runs"
WHOLE = {"data": "mnist", "max_steps": -1, "limit_train_batches": 1.0}
USUAL = {"batch_size": 128, "precision": "32-true"}
DEFAULTS: dict[str, dict[str, Any]] = {
    name: {f"model.{key}": p.default for key, p in inspect.signature(cls).parameters.items()}
    for name, cls in (("gan", GAN), ("vae", VAE))
}


@dataclass(frozen=True)
class Side:
    """One side of a contrast: what its runs are, and what trains them."""

    name: str  # "GAN of 256-512-1024, 50 epochs"
    pinned: dict[str, Any]  # settings that it needs
    overrides: str  # of `python train.py`

    @property
    def command(self) -> str:
        """What trains its runs, with three seeds."""
        return f"python train.py -m {self.overrides} seed=0,1,2"

    def matches(self, group: Group) -> bool:
        """Whether the group is of this side."""
        wanted = WHOLE | self.pinned
        return all(group.settings.get(key) == value for key, value in wanted.items())


class Part(NamedTuple):
    """One contrast by one metric."""

    contrast: str
    key: str
    outcome: Outcome
    text: str
    difference: Estimate | None = None
    stands_on: str = ""  # on how many seeds or images it stands
    decides: bool = True  # False: told beside those that do


class Answer(NamedTuple):
    """What the given runs say of a claim."""

    claim: str  # "C1"
    says: str
    outcome: Outcome
    summary: str  # the outcome in words, with the number of seeds
    parts: list[Part]
    missing: list[str]  # what the claim needs and is not there
    commands: list[str]  # that train it


class Missing(Exception):
    """A side without runs, or without the figures that a claim needs."""

    def __init__(self, lines: list[str], commands: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines, self.commands = lines, list(dict.fromkeys(commands))


def select(groups: Sequence[Group], *sides: Side) -> list[Group]:
    """One group for each side, alike in all but what the sides pin.

    Where several would do, that with the fewest departures from the models' defaults.

    Raises:
        Missing: A side has no runs, or none that match the others'.
    """
    pinned = {key for side in sides for key in side.pinned}
    found = [[group for group in groups if side.matches(group)] for side in sides]
    gone = [side for side, some in zip(sides, found, strict=True) if not some]
    if gone:
        raise Missing([f"no runs: {side.name}" for side in gone], [s.command for s in gone])
    for first in sorted(found[0], key=lambda group: len(departures(group, pinned))):
        chosen = [first]
        for some in found[1:]:
            alike = [group for group in some if _alike(first, group, pinned)]
            alike.sort(key=lambda group: len(departures(group, pinned)))
            chosen += alike[:1]
        if len(chosen) == len(sides):
            return chosen
    names = " and ".join(side.name for side in sides)
    raise Missing([f"no runs that differ in nothing else: {names}"], [s.command for s in sides])


def departures(group: Group, pinned: set[str]) -> list[str]:
    """In words, the settings that are neither pinned nor the default."""
    usual = USUAL | DEFAULTS[group.model]
    return [
        describe(key, group.settings[key])
        for key, value in usual.items()
        if key not in pinned and group.settings.get(key, value) != value
    ]


def summary(group: Group, key: str) -> Summary:
    """The group's figures.

    Raises:
        Missing: No run of the group has the metric.
    """
    found = group.summary(key)
    if found is None:
        paths = [str(run.path) for run in group.runs]
        raise Missing([f"no {key}: {group.label}"], [f"gen-models evaluate {p}" for p in paths])
    return found


def contrast(
    name: str, one: Group, other: Group, key: str, *, claimed: int, pair_seeds: bool = False
) -> Part:
    """Whether one group differs from the other as is claimed.

    Args:
        name: Of the contrast.
        one: The group the claim speaks of.
        other: The group that it is compared with.
        key: The metric that decides.
        claimed: The sign that the claim gives to one - other.
        pair_seeds: The runs of a seed share their trajectory, so their difference is taken.

    Raises:
        Missing: A group lacks the metric, or the two have no seed in common.
    """
    mine, theirs = summary(one, key), summary(other, key)
    if mine.diverged or theirs.diverged:
        who = one.label if mine.diverged else other.label
        return Part(name, key, "not answered", f"{who} diverged")
    if not pair_seeds:
        return decided(name, key, welch(mine.finite, theirs.finite), claimed, seeds(mine, theirs))
    common = sorted(mine.values.keys() & theirs.values.keys())
    if not common:
        raise Missing([f"no seed in common: {one.label} and {other.label}"], [])
    difference = paired(*([s.values[seed] for seed in common] for s in (mine, theirs)))
    count = "one seed" if len(common) == 1 else f"{len(common)} seeds, paired"
    return decided(name, key, difference, claimed, count)


def decided(name: str, key: str, difference: Estimate, claimed: int, count: str) -> Part:
    """Supported if the 95 % interval excludes 0 in the claimed direction, and so on."""
    outcome: Outcome = "not distinguishable"
    if difference.sign:
        outcome = "supported" if difference.sign == claimed else "contradicted"
    text = in_words(metric(key), difference, count)
    return Part(name, key, outcome, text, difference, count)


def against(name: str, group: Group, key: str, value: float, *, claimed: int) -> Part:
    """Whether a group's mean lies on the claimed side of a value that is known.

    Raises:
        Missing: The group lacks the metric.
    """
    figures = summary(group, key)
    if figures.diverged:
        return Part(name, key, "not answered", f"{group.label} diverged")
    difference = mean([figure - value for figure in figures.finite])
    return decided(name, key, difference, claimed, seeds(figures, figures))


def by_image(name: str, one: Group, way: str, other: Group, other_way: str) -> Part:
    """Whether one group recreates the same test images with less error: paired by image.

    Each image's error is averaged over the seeds of a group first.

    Raises:
        Missing: A run has no errors by image, or the two were given other images.
    """
    mine, theirs = image_errors(one, way), image_errors(other, other_way)
    images = [image_errors(group, "nearest") for group in (one, other)]
    if images[0].shape != images[1].shape or not np.allclose(images[0], images[1], rtol=1e-3):
        redo = [f"gen-models evaluate {run.path}" for run in (*one.runs, *other.runs)]
        raise Missing([f"not the same test images: {one.label}, {other.label}"], redo)
    won = float((mine < theirs).mean())
    count = f"{len(mine)} images"
    part = decided(name, f"{way}/mse", paired(mine.tolist(), theirs.tolist()), -1, count)
    text = part.text.replace("larger than seed noise", "beyond the spread of the images")
    return part._replace(text=f"{text}; better on {100 * won:.0f} % of {count}")


def image_errors(group: Group, way: str) -> np.ndarray:
    """Mean over the seeds of the squared error of each test image, (n,).

    Raises:
        Missing: A run has not measured it.
    """
    errors = []
    for run in group.runs:
        if run.diverged:
            raise Missing([f"diverged: {run.path}"], [])
        found = run.arrays().get(f"{way}_mse")
        if found is None:
            raise Missing([f"no errors by image: {run.path}"], [f"gen-models evaluate {run.path}"])
        errors.append(found.astype(float))
    if len({len(error) for error in errors}) > 1:
        redo = [f"gen-models evaluate {run.path}" for run in group.runs]
        raise Missing([f"not the same number of test images: {group.label}"], redo)
    return np.asarray(np.mean(errors, axis=0))


def beside(parts: Callable[[], list[Part]]) -> list[Part]:
    """Parts that are told but do not decide, as far as there are runs for them."""
    try:
        return [part._replace(decides=False) for part in parts()]
    except Missing:
        return []


def answer(claim: str, says: str, parts: Callable[[], list[Part]]) -> Answer:
    """The claim holds if each deciding part does; one that is contradicted contradicts it."""
    try:
        found = parts()
    except Missing as gone:
        return Answer(claim, says, "not answered", UNANSWERED, [], gone.lines, gone.commands)
    outcomes = {part.outcome for part in found if part.decides}
    order: tuple[Outcome, ...] = (
        "contradicted",
        "not answered",
        "not distinguishable",
        "supported",
    )
    outcome = next(each for each in order if each in outcomes)
    summary: str = outcome
    if outcome == "not distinguishable":
        part = next(part for part in found if part.outcome == outcome and part.decides)
        summary = f"not distinguishable with {part.stands_on}"
    return Answer(claim, says, outcome, summary, found, [], [])


def _alike(one: Group, other: Group, pinned: set[str]) -> bool:
    keys = one.settings.keys() & other.settings.keys() - pinned
    if one.model != other.model:
        keys = {key for key in keys if not key.startswith("model")}
    return all(one.settings[key] == other.settings[key] for key in keys)
