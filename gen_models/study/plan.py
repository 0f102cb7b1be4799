"""The runs that a study plans: how each is trained, its directory, and its state."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pydoc import locate
from typing import Any, Literal, NamedTuple

from gen_models.analysis.metrics import FID
from gen_models.analysis.settings import canonical
from gen_models.errors import UserError, first_line
from gen_models.files import read_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job, fingerprint, group_overrides, identity
from gen_models.study.definition import Arm, Study

Compose = Callable[[list[str]], dict[str, Any]]  # overrides of train.py -> resolved configuration
State = Literal["done", "diverged", "running", "stopped", "failed", "missing"]

RESUMABLE = {"lr_schedule": "constant", "max_steps": -1}  # what a run that is longer must have


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study needs, trained or not."""

    arm: str
    seed: int
    overrides: tuple[str, ...]  # of train.py, without seed and output_dir
    output_dir: Path
    path: Path  # the run directory
    model: str  # `_target_` of its model
    earlier: "PlannedRun | None"  # the same run up to an earlier epoch, from which it resumes
    sampler: str | None = None  # the kind that draws its new images
    options: Arm = field(default_factory=Arm)  # with the numbers of steps that are measured too

    @property
    def key(self) -> tuple[str, int]:
        """Its arm and seed."""
        return self.arm, self.seed

    @property
    def name(self) -> str:
        """Its arm and seed for a person."""
        return f"{self.arm} seed {self.seed}"

    @property
    def code(self) -> str:
        """Fingerprint of what would train it now; imports the model."""
        return _fingerprint(self.model)

    @property
    def words(self) -> list[str]:
        """The arguments of train.py that train it, or finish it."""
        words = [*self.overrides, f"seed={self.seed}", "evaluate=full"]
        if self._begun:
            words.append(f"extend={_quoted(self._begun.path)}")
        return [*words, f"output_dir={_quoted(self.output_dir)}"]

    @property
    def state(self) -> State:
        """The state on disk; "stopped": the same command resumes it.

        Raises:
            UserError: Its status cannot be read.
        """
        run = RunDirectory(self.path)
        status = run.read_status()
        recorded = status.get("status", "missing")
        trained = "evaluation" in status and not self.unmeasured
        if trained or recorded in ("missing", "diverged", "failed"):
            return recorded
        return "running" if run.is_locked() else "stopped"

    @property
    def unmeasured(self) -> bool:
        """Whether it is trained and measured, but not yet at every number of steps."""
        run = RunDirectory(self.path)
        if not self.options.by_steps or "evaluation" not in run.read_status():
            return False
        keys = read_json(run.metrics)
        return not all(f"{place}{FID}" in keys for place in self.options.by_steps)

    @property
    def steps_words(self) -> list[str]:
        """The arguments of gen-models that measure it at every number of steps."""
        counts, solvers = ",".join(map(str, self.options.steps)), ",".join(self.options.solvers)
        return ["evaluate", str(self.path), "--steps", counts, "--solver", solvers]

    @property
    def seconds(self) -> float | None:
        """How long a finished run took with its evaluation; None if it does not say.

        Without the earlier run that it extends.
        """
        status = RunDirectory(self.path).read_status()
        if status.get("seconds") is None:
            return None
        measured = float(status.get("evaluation", {}).get("seconds", 0.0))
        before = RunDirectory(self._begun.path).read_status()["seconds"] if self._begun else 0.0
        return float(status["seconds"]) - float(before) + measured

    @property
    def _begun(self) -> "PlannedRun | None":
        """The run that this one extends: one that diverged cannot be extended."""
        return self.earlier if self.earlier and self.earlier.state == "done" else None


class _Composed(NamedTuple):
    """The configuration that an arm's overrides compose."""

    settings: dict[str, Any]  # that tell the run from others, without the seed
    path: Callable[[int], Path]  # of the run with a seed
    model: str
    sampler: str | None


def plan(study: Study, compose: Compose, output_dir: Path) -> list[PlannedRun]:
    """Every run of the study in the order of its training, earlier parts before the whole.

    Raises:
        UserError: An arm does not compose, two arms are the same run, or an epoch is beyond a
            run's end.
    """
    once = functools.cache(lambda words: compose(list(words)))  # it takes a quarter of a second
    composed = {
        name: _compose(study, name, lambda words: once(tuple(words)), output_dir)
        for name in study.arms
    }
    _check_different(study, {name: each.settings for name, each in composed.items()})
    runs: dict[tuple[str, int], PlannedRun] = {}

    def add(name: str, seed: int) -> PlannedRun:
        if (name, seed) in runs:
            return runs[name, seed]
        before = [
            other
            for other in study.earlier(study.root(name))
            if seed in study.arms[other].seeds
            and composed[other].settings["max_epochs"] < composed[name].settings["max_epochs"]
        ]
        earlier = add(before[-1], seed) if before else None
        _, path, model, sampler = composed[name]
        run = PlannedRun(
            name, seed, tuple(study.overrides(name)), output_dir, path(seed), model, earlier,
            sampler, study.arms[name],
        )  # fmt: skip
        return runs.setdefault((name, seed), run)

    for name, seed in study.order():
        add(name, seed)
    return list(runs.values())


def _quoted(path: Path) -> str:
    """A path within quotes, as Hydra reads it."""
    return "'" + str(path).replace("'", r"\'") + "'"


@functools.cache
def _fingerprint(model: str) -> str:
    return fingerprint(locate(model))  # type: ignore[arg-type]


def _compose(study: Study, name: str, compose: Compose, output_dir: Path) -> _Composed:
    overrides = study.overrides(name)
    place = f"{study.file}: arms.{name}"
    for word in overrides:
        if word.partition("=")[0] in ("seed", "output_dir", "evaluate", "extend", "-m"):
            raise UserError(f"{place}: {word}: a study sets it itself: leave it out")
    try:
        config = {**compose(overrides), "output_dir": str(output_dir)}
        defaults = compose(group_overrides(overrides))
        settings = canonical(identity(config))
        model = config["model"]["_target_"]
    except Exception as error:  # of Hydra, which this room does not know
        raise UserError(f"{place}: {first_line(error)}: not what train.py takes") from error
    arm = study.arms[name]
    if arm.steps and "steps" not in config["model"]:
        raise UserError(f"{place}.steps: this model takes no steps: leave it out")
    if arm.of:
        whole = identity(compose(study.overrides(arm.of)))["max_epochs"]
        if not settings["max_epochs"] == arm.at_epoch < whole:
            raise UserError(
                f"{place}.at_epoch: {arm.at_epoch} is not before the end of {arm.of}, whose "
                f"max_epochs is {whole}"
            )
        for key, needed in RESUMABLE.items():
            if config[key] != needed:
                raise UserError(
                    f"{place}.of: {arm.of} has {key}={config[key]}, so its epochs are not those of "
                    f"a shorter run: {key}={needed}, or an arm of its own"
                )
    rest = {key: value for key, value in settings.items() if key != "seed"}

    def path(seed: int) -> Path:
        return Job({**config, "seed": seed}, defaults).path

    return _Composed(rest, path, model, config["sampler"])


def _check_different(study: Study, settings: dict[str, dict[str, Any]]) -> None:
    for other, name in itertools.combinations(settings, 2):
        place = f"{study.file}: arms.{other} and arms.{name}"
        if settings[other] == settings[name]:
            raise UserError(f"{place}: are the same runs: take one of them out")
        if settings[other]["data"] != settings[name]["data"]:
            raise UserError(f"{place}: are of different data sets: make a study of each")
