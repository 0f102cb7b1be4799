"""Finding runs on disk and reading what they have measured; nothing is computed."""

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_models.comparison.metrics import FID, QUICK, is_measure
from gen_models.comparison.settings import canonical
from gen_models.errors import UserError, first_line
from gen_models.files import other_version, read_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import identity
from gen_models.runs.sampler import read_record, sampler_measured_with

HINT = "name run directories, or a folder of them such as outputs/mnist"
FINISHED = ("done", "diverged")
BY_PRIOR = ("val/fid_lenet", "val/coverage", "val/missing_digits")  # whatever the sampler
DISTANCES = {FID, QUICK + FID}
MISSING_CLASSES = 5  # as many or more: the run failed


@dataclass(frozen=True)
class Run:
    """A finished run as it stands on disk."""

    path: Path
    model: str  # its class in lower case
    phase: str
    seed: int
    settings: dict[str, Any]  # runs.identity without the seed, and "sampler"; plain and hashable
    status: dict[str, Any] = field(repr=False)
    diverged: bool  # a loss stopped being finite
    metrics: dict[str, float] = field(repr=False)  # NaN throughout if the run diverged

    @property
    def measured(self) -> bool:
        """Whether its new images were, or it has none because it diverged."""
        return self.diverged or not DISTANCES.isdisjoint(self.metrics)

    @property
    def evaluate_command(self) -> str:
        """What to type to measure it."""
        return f"gen-models evaluate {shlex.quote(str(self.path))}"

    @property
    def failed(self) -> bool:
        """As `has_failed` says; of a run measured with 2,000 images, by those."""
        prefix = "" if FID in self.metrics else QUICK
        return self.diverged or has_failed(self.metrics, prefix)

    def arrays(self) -> dict[str, np.ndarray]:
        """Errors by image and pictures of evaluation.npz; empty if there is none.

        Raises:
            UserError: The file is not one of ours.
        """
        return read_arrays(self.path / "evaluation.npz", f": gen-models evaluate {self.path}")


def read_arrays(file: Path, remedy: str = "") -> dict[str, np.ndarray]:
    """The arrays of an .npz; empty if it is not there.

    Args:
        file: It.
        remedy: The end of the error's line.

    Raises:
        UserError: The file is not one of ours.
    """
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # of the file system, NumPy, zipfile or zlib
        raise UserError(f"{file}: cannot be read ({first_line(error)}){remedy}") from error


def has_failed(metrics: dict[str, float], prefix: str = "") -> bool:
    """Not finite, five or more classes missing, or in nothing better than a crude Gaussian.

    That is: better neither in `fid_lenet` nor in `coverage`. A strong Gaussian, as on small data,
    is not enough for a failure.
    """

    def value(key: str, unknown: float) -> float:
        return metrics.get(prefix + key, unknown)

    distance = value(FID, 0.0)
    far = distance >= value(f"gaussian/{FID}", math.inf)
    narrow = value("coverage", math.inf) <= value("gaussian/coverage", -math.inf)
    return (
        not math.isfinite(distance)
        or value("missing_digits", 0.0) >= MISSING_CLASSES
        or (far and narrow)
    )


class Found(NamedTuple):
    """The runs to compare, and what there is to say about those left out."""

    runs: list[Run]
    notes: list[str]  # one line each


def find_runs(paths: Sequence[str | Path]) -> Found:
    """Read every finished run in `paths`, each once, in the order of their paths.

    Args:
        paths: Run directories, or folders of them at any depth. In a folder, what cannot be
            compared is left out and noted.

    Raises:
        UserError: Nothing to compare; a run that is named itself cannot be read; runs of more
            than one data set; one run in two folders; no run is evaluated.
    """
    found: dict[Path, Run] = {}
    notes: list[str] = []
    for given in map(Path, paths):
        inside = list(_directories(given))
        if not inside:
            raise UserError(f"{given}: no run here: {HINT}")
        for path in inside:
            try:
                if path.resolve() not in found:
                    found[path.resolve()] = read_run(path)
            except UserError as error:
                if path == given:
                    raise
                notes.append(f"left out: {error}")
    runs = _with_all_settings(list(found.values()))
    if not runs:
        named = ", ".join(map(str, paths))
        raise UserError(f"{named}: no run to compare here ({notes[0]}): {HINT}")
    _check_comparable(runs)
    unmeasured = [run for run in runs if not run.measured]
    if len(unmeasured) == len(runs):
        run = runs[0]
        raise UserError(
            f"{run.path}: not evaluated, nor is any other run given: {run.evaluate_command}"
        )
    notes += [f"{run.path}: not evaluated: {run.evaluate_command}" for run in unmeasured]
    notes += [line for run in runs if (line := _other_sampler(run))]
    return Found(_with_nan(runs), notes)


def read_run(path: Path) -> Run:
    """Read one run directory.

    Raises:
        UserError: It is not finished, of another version, or a file is not one of ours.
    """
    directory = RunDirectory(path)
    status = directory.read_status()
    if status.get("status") not in FINISHED:
        raise UserError(
            f"{path}: not finished (its status is {status['status']}): the command that began it "
            "goes on from there"
        )
    try:
        wrote = str(status["versions"]["gen-models"])
    except (KeyError, TypeError) as error:
        raise other_version(directory.status) from error
    if wrote.split(".")[:2] != version("gen-models").split(".")[:2]:
        raise other_version(directory.status, wrote)
    config = directory.read_config()
    settings = canonical(identity(config))
    seed = int(settings.pop("seed"))
    diverged = status["status"] == "diverged"
    metrics = {} if diverged else read_json(directory.metrics)
    sampler = sampler_measured_with(status)
    # Runs of one group need not have mixtures of one size: it is chosen for each. A run that was
    # not measured, because it diverged or was stopped, counts by the sampler that was asked for.
    unmeasured = status.keys().isdisjoint({"evaluation", "quick"})
    name = config.get("sampler") if unmeasured else sampler
    settings["sampler"] = name.partition("-")[0] if name else None
    left_out = BY_PRIOR if sampler else ()
    if status.get("quick", {}).get("sampler") != sampler:
        left_out = (*left_out, QUICK)
    metrics = {key: value for key, value in metrics.items() if not key.startswith(left_out)}
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{directory.metrics}: {key} is not a number: not one of our files")
    if "seconds" in status and not diverged:  # known without evaluation
        metrics.setdefault("cost/seconds", status["seconds"])
    model, phase = str(settings["model"]), str(config["phase"])
    return Run(path, model, phase, seed, settings, status, diverged, metrics)


def _with_all_settings(runs: list[Run]) -> list[Run]:
    """The same runs; a setting that older code did not know is None."""
    every = dict.fromkeys(key for run in runs for key in run.settings)
    return [replace(run, settings={key: run.settings.get(key) for key in every}) for run in runs]


def _directories(folder: Path) -> Iterator[Path]:
    """Run directories at or below `folder`, sorted; links are followed, but not in a circle."""
    seen: set[Path] = set()
    for place, names, files in os.walk(folder, followlinks=True):
        path = Path(place)
        names.sort()
        if path.resolve() in seen:
            names.clear()
        elif "status.json" in files:
            names.clear()
            yield path
        seen.add(path.resolve())


def _check_comparable(runs: Sequence[Run]) -> None:
    """Of one data set, and no two with the same settings and seed."""
    data: dict[str, Run] = {}
    for run in runs:
        data.setdefault(run.settings["data"], run)
    if len(data) > 1:
        named = ", ".join(f"{name} ({run.path})" for name, run in data.items())
        raise UserError(f"runs on different data sets: {named}: compare each data set apart")
    first: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        twin = first.setdefault((run.seed, *run.settings.items()), run)
        if twin is not run:
            raise UserError(
                f"{twin.path} and {run.path}: the same settings and seed in two folders: "
                "name one of them"
            )


def _other_sampler(run: Run) -> str | None:
    """What to say of a run that draws by another sampler than it was measured with."""
    measured = sampler_measured_with(run.status)
    now = read_record(RunDirectory(run.path)).get("name")
    if measured == now or DISTANCES.isdisjoint(run.metrics):
        return None
    return (
        f"{run.path}: measured with {measured or 'its prior'}, and draws by {now or 'its prior'} "
        f"now: {run.evaluate_command}"
    )


def _with_nan(runs: Sequence[Run]) -> list[Run]:
    """Diverged runs with NaN for all that other runs of their model have measured, or of any."""
    keys: dict[str, set[str]] = {}
    for run in runs:
        keys.setdefault(run.model, set()).update(filter(is_measure, run.metrics))
    distances = DISTANCES & set().union(*keys.values()) or {FID}
    return [
        replace(run, metrics=dict.fromkeys(sorted(keys[run.model] or distances), math.nan))
        if run.diverged
        else run
        for run in runs
    ]
