"""One run: how it was made and what was measured of it. Read from its directory, never computed."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gen_models.analysis.metrics import FID, QUICK
from gen_models.analysis.settings import canonical
from gen_models.errors import UserError, first_line
from gen_models.files import other_version, read_json
from gen_models.runs.directory import RunDirectory, features_of, why_failed
from gen_models.runs.identity import identity
from gen_models.runs.sampler import sampler_measured_with

FINISHED = ("done", "diverged")
READABLE = ("0.1", "0.2")  # versions of gen-models whose run directories have the same files
BY_PRIOR = (  # whatever the sampler
    "val/fid_lenet", "val/coverage", "val/missing_digits", "val/missing_classes",
)  # fmt: skip
DISTANCES = {FID, QUICK + FID}


@dataclass(frozen=True)
class Run:
    """A finished run."""

    record: dict[str, Any]  # model, seed, status, and of a run directory all of status.json
    metrics: dict[str, float] = field(repr=False)  # none, or NaN, of a run that diverged
    settings: dict[str, Any] = field(default_factory=dict)  # but the seed; hashable
    path: Path = Path()  # its directory, if it was read from one

    @property
    def model(self) -> str:
        """The name of its model."""
        return str(self.record["model"])

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return int(self.record["seed"])

    @property
    def diverged(self) -> bool:
        """Whether a loss stopped being finite: nothing was measured."""
        return bool(self.record["status"] == "diverged")

    @property
    def measured(self) -> bool:
        """Whether its new images were measured, or there are none because it diverged."""
        return self.diverged or not DISTANCES.isdisjoint(self.metrics)

    @property
    def failed(self) -> bool:
        """Whether it failed: it diverged, or by the rule of `why_failed`."""
        return self.diverged or why_failed(self.metrics) is not None

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """What is recorded of the features of its distances, by their name, random ones last."""
        records = [self.record[key] for key in ("evaluation", "quick") if key in self.record]
        return {features_of(record): record for record in records}

    @property
    def evaluate_command(self) -> str:
        """The command that measures it."""
        return f"gen-models evaluate {shlex.quote(str(self.path))}"

    def arrays(self) -> dict[str, np.ndarray]:
        """Errors by image and pictures of evaluation.npz; empty if there is none."""
        return read_arrays(self.path / "evaluation.npz", f": {self.evaluate_command}")


def read_arrays(file: Path, remedy: str = "") -> dict[str, np.ndarray]:
    """The arrays of an .npz; empty if there is no such file.

    Raises:
        UserError: The file is not one of ours; `remedy` ends the line.
    """
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # of the file system, NumPy, zipfile or zlib
        raise UserError(f"{file}: cannot be read ({first_line(error)}){remedy}") from error


def missing_rule(runs: Iterable[Run]) -> str:
    """How much must be missing from new images for a failure; "" where that is not measured."""
    keys = {key.removeprefix(QUICK) for run in runs for key in run.metrics}
    if "missing_classes" in keys:
        return "half of the classes or more"
    return "five or more digits" if "missing_digits" in keys else ""


def read_run(path: Path) -> Run:
    """Read one run directory.

    Raises:
        UserError: It is not finished, of another version, or a file is not one of ours.
    """
    directory = RunDirectory(path)
    status = directory.read_status()
    if status.get("status") not in FINISHED:
        raise UserError(
            f"{path}: not finished (its status is {status['status']}): repeat the command that "
            "started it"
        )
    versions = status.get("versions", {})
    wrote = str(versions.get("gen-models", ""))
    if wrote.rpartition(".")[0] not in READABLE:
        raise other_version(directory.status, wrote)
    config = directory.read_config()
    settings = canonical(identity(config))
    record = {**status, **versions, "model": settings["model"], "phase": str(config["phase"])}
    record["seed"] = settings.pop("seed")
    sampler = record["sampler"] = sampler_measured_with(status)
    # Runs of one group need not have mixtures of one size: it is chosen for each. A run that was
    # not measured, because it diverged or was stopped, counts by the sampler that was asked for.
    unmeasured = status.keys().isdisjoint({"evaluation", "quick"})
    name = config.get("sampler") if unmeasured else sampler
    settings["sampler"] = name.partition("-")[0] if name else None
    if status["status"] == "diverged":
        return Run(record, {}, settings, path)
    left_out = BY_PRIOR if sampler else ()
    if status.get("quick", {}).get("sampler") != sampler:
        left_out = (*left_out, QUICK)
    metrics = {k: v for k, v in read_json(directory.metrics).items() if not k.startswith(left_out)}
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{directory.metrics}: {key} is not a number: not one of our files")
    if "seconds" in status:  # known without evaluation
        metrics.setdefault("cost/seconds", status["seconds"])
    return Run(record, metrics, settings, path)
