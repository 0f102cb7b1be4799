"""The runs that a study plans: how each is trained, its directory, and its state."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pydoc import locate
from typing import Any, Literal

from gen_models.analysis.metrics import FID
from gen_models.analysis.settings import canonical
from gen_models.errors import UserError
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
    def extended(self) -> "PlannedRun | None":
        """The run that this one extends: one that diverged cannot be extended."""
        return self.earlier if self.earlier and self.earlier.state == "done" else None

    @property
    def words(self) -> list[str]:
        """The arguments of train.py that train it, or finish it."""
        words = [*self.overrides, f"seed={self.seed}", "evaluate=full"]
        words += [f"extend={_quoted(self.extended.path)}"] if self.extended else []
        return [*words, f"output_dir={_quoted(self.output_dir)}"]

    @property
    def state(self) -> State:
        """The state on disk; "stopped": the same command resumes it.

        Raises:
            UserError: Its status cannot be read.
        """
        run = RunDirectory(self.path)
        status = run.read_status()
        recorded: State = status.get("status", "missing")
        measured = "evaluation" in status and not self.unmeasured
        if measured or recorded in ("missing", "diverged", "failed"):
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
        """How long a finished run took with its evaluation, without the run that it extends.

        None if it does not say.
        """
        status = RunDirectory(self.path).read_status()
        if status.get("seconds") is None:
            return None
        extended = RunDirectory(self.extended.path).read_status() if self.extended else {}
        measured = status.get("evaluation", {}).get("seconds", 0.0)
        return float(status["seconds"] - extended.get("seconds", 0.0) + measured)


def plan(study: Study, compose: Compose, output_dir: Path) -> list[PlannedRun]:
    """Every run of the study in the order of its training, earlier parts before the whole.

    Raises:
        UserError: An arm does not compose, two arms are the same run, or an epoch is beyond a
            run's end.
    """

    @functools.cache  # it takes a quarter of a second
    def composed(*overrides: str) -> dict[str, Any]:
        return {**compose([*overrides]), "output_dir": str(output_dir)}

    jobs = {name: _job(study, name, composed) for name in study.arms}
    _check_different(study, jobs)
    runs: dict[tuple[str, int], PlannedRun] = {}
    for name, seed in study.order():
        earlier = None
        for part in (part for part in study.up_to(name) if seed in study.arms[part].seeds):
            config, defaults, _ = jobs[part]
            run = PlannedRun(
                part, seed, tuple(study.overrides(part)), output_dir,
                Job({**config, "seed": seed}, defaults).path, config["model"]["_target_"],
                earlier, config["sampler"], study.arms[part],
            )  # fmt: skip
            earlier = runs.setdefault(run.key, run)
    return list(runs.values())


def _quoted(path: Path) -> str:
    """A path within quotes, as Hydra reads it."""
    return "'" + str(path).replace("'", r"\'") + "'"


@functools.cache
def _fingerprint(model: str) -> str:
    return fingerprint(locate(model))  # type: ignore[arg-type]


def _job(study: Study, name: str, composed: Callable[..., dict[str, Any]]) -> Job:
    """What an arm's overrides compose, whatever its seed."""
    overrides, arm = study.overrides(name), study.arms[name]
    place = f"{study.file}: arms.{name}"
    for word in overrides:
        if word.partition("=")[0] in ("seed", "output_dir", "evaluate", "extend", "-m"):
            raise UserError(f"{place}: {word}: a study sets it itself: leave it out")
    try:
        job = Job(composed(*overrides), composed(*group_overrides(overrides)))
    except UserError as error:
        raise UserError(f"{place}: {error}: not what train.py takes") from error
    if arm.steps and "steps" not in job.config["model"]:
        raise UserError(f"{place}.steps: this model takes no steps: leave it out")
    if arm.of:
        whole = identity(composed(*study.overrides(arm.of)))["max_epochs"]
        if arm.at_epoch >= whole:
            raise UserError(
                f"{place}.at_epoch: {arm.at_epoch} is not before the end of {arm.of}, whose "
                f"max_epochs is {whole}"
            )
        for key, needed in RESUMABLE.items():
            if job.config[key] != needed:
                raise UserError(
                    f"{place}.of: {arm.of} has {key}={job.config[key]}, so its epochs are not "
                    f"those of a shorter run: {key}={needed}, or an arm of its own"
                )
    return job


def _check_different(study: Study, jobs: dict[str, Job]) -> None:
    settings = {
        name: canonical(identity({**job.config, "seed": None})) for name, job in jobs.items()
    }
    for other, name in itertools.combinations(settings, 2):
        place = f"{study.file}: arms.{other} and arms.{name}"
        if settings[other] == settings[name]:
            raise UserError(
                f"{place}: are the same runs (a sampler is no part of a run): take one of them out"
            )
        if settings[other]["data"] != settings[name]["data"]:
            raise UserError(f"{place}: are of different data sets: make a study of each")
