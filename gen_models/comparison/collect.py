"""Finding runs on disk and reading what they have measured; nothing is computed."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_models import runs
from gen_models.comparison.metrics import FID, QUICK, is_measure
from gen_models.errors import UserError
from gen_models.runs import RunDirectory, read_json

HINT = "name run directories, or a folder of them such as outputs/mnist"
FINISHED = ("done", "diverged")
COLLAPSED = 5  # digits of ten
MIRRORED = {  # setting -> what it is where it is not set
    "model.discriminator_dims": "model.generator_dims",
    "model.decoder_dims": "model.encoder_dims",
}
SAME_RATE = ("model.lr_g", "model.lr_d")


@dataclass(frozen=True)
class Run:
    """A finished run as it stands on disk."""

    path: Path
    phase: str
    settings: dict[str, Any]  # runs.identity, plain and hashable
    status: dict[str, Any] = field(repr=False)
    metrics: dict[str, float] = field(repr=False)  # NaN throughout if the run diverged

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.settings["seed"])

    @property
    def model(self) -> str:
        """The model's class in lower case."""
        return str(self.settings["model"])

    @property
    def diverged(self) -> bool:
        """Whether a loss stopped being finite."""
        return bool(self.status["status"] == "diverged")

    @property
    def evaluated(self) -> bool:
        """Whether its new images have been measured, at any sample size."""
        return FID in self.metrics or QUICK + FID in self.metrics

    @property
    def missing_digits(self) -> float:
        """Digits missing from the new images; 0 where they were not counted."""
        counts = [self.metrics.get(f"{size}missing_digits", 0.0) for size in ("", QUICK)]
        return max((count for count in counts if math.isfinite(count)), default=0.0)

    @property
    def collapsed(self) -> bool:
        """Whether half of the digits, or more, are missing from its new images."""
        return self.missing_digits >= COLLAPSED

    def arrays(self) -> dict[str, np.ndarray]:
        """Per-image figures and pictures of evaluation.npz; empty if there is none.

        Raises:
            UserError: The file is not one of ours.
        """
        file = self.path / "evaluation.npz"
        if not file.exists():
            return {}
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays}
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise _unreadable(file, error) from error
        except Exception as error:  # zipfile.BadZipFile, zlib.error
            raise _unreadable(file, error) from error


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
        if (given / "status.json").exists():
            found.setdefault(given.resolve(), read_run(given))
            continue
        inside = list(_directories(given))
        if not inside:
            raise UserError(f"{given}: no run here: {HINT}")
        for path in inside:
            if path.resolve() not in found:
                try:
                    found[path.resolve()] = read_run(path)
                except UserError as error:
                    notes.append(f"left out: {error}")
    every = list(found.values())
    if not every:
        raise UserError(
            f"{', '.join(map(str, paths))}: no run to compare here ({notes[0]}): {HINT}"
        )
    _check_one_data_set(every)
    _check_no_twins(every)
    if not any(run.evaluated or run.diverged for run in every):
        raise UserError(
            f"{every[0].path}: not evaluated, nor is any other run given: "
            f"gen-models evaluate {every[0].path}"
        )
    notes += [
        f"{run.path}: not evaluated: gen-models evaluate {run.path}"
        for run in every
        if not (run.evaluated or run.diverged)
    ]
    return Found(_with_nan(every), notes)


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
        made_by = str(status["versions"]["gen-models"])
    except (KeyError, TypeError) as error:
        raise _other_version(directory.status) from error
    if made_by.split(".")[:2] != version("gen-models").split(".")[:2]:
        raise _other_version(directory.status, f" ({made_by})")
    config = directory.read_config()
    identity = {key: _plain(value) for key, value in runs.identity(config).items()}
    metrics: dict[str, float] = {}
    if status["status"] == "done":
        metrics = read_json(directory.metrics)
        wrong = [k for k, v in metrics.items() if isinstance(v, bool) or not _is_number(v)]
        if wrong:
            raise UserError(
                f"{directory.metrics}: {wrong[0]} is not a number: not one of our files"
            )
        if "seconds" in status:  # known without evaluation
            metrics.setdefault("cost/seconds", status["seconds"])
    return Run(path, str(config["phase"]), _canonical(identity), status, metrics)


def _directories(folder: Path) -> Iterator[Path]:
    """Run directories below `folder`, sorted; links are followed, but never in a circle."""
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


def _canonical(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings for the same network: what only repeats its default is None."""
    ours = dict(settings)
    for key, source in MIRRORED.items():
        if ours.get(key) is not None and ours[key] == ours[source][::-1]:
            ours[key] = None
    for key in SAME_RATE:
        if key in ours and ours[key] == ours["model.lr"]:
            ours[key] = None
    return ours


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _check_one_data_set(every: list[Run]) -> None:
    first: dict[str, Run] = {}
    for run in every:
        first.setdefault(run.settings["data"], run)
    if len(first) > 1:
        named = ", ".join(f"{name} ({run.path})" for name, run in first.items())
        raise UserError(f"runs on different data sets: {named}: compare each data set apart")


def _check_no_twins(every: list[Run]) -> None:
    first: dict[tuple[Any, ...], Run] = {}
    for run in every:
        twin = first.setdefault(tuple(run.settings.items()), run)
        if twin is not run:
            raise UserError(
                f"{twin.path} and {run.path}: the same settings and seed in two folders: "
                "name one of them"
            )


def _with_nan(every: list[Run]) -> list[Run]:
    """Diverged runs with NaN for all that other runs of their model have measured."""
    keys: dict[str, set[str]] = {}
    for run in every:
        keys.setdefault(run.model, set()).update(filter(is_measure, run.metrics))
    return [
        replace(run, metrics=dict.fromkeys(sorted(keys[run.model] or {FID}), math.nan))
        if run.diverged
        else run
        for run in every
    ]


def _other_version(file: Path, which: str = "") -> UserError:
    return UserError(
        f"{file}: from another version of gen-models{which}: train the run again (overwrite=true)"
    )


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{file}: cannot be read ({reason})")
