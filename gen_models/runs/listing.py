"""All runs under a folder, as their directories tell, while they train too. Without torch."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.errors import UserError
from gen_models.files import read_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import model_name

DISTANCES = {"fid_lenet": "test", "quick/fid_lenet": "quick", "val/fid_lenet": "val"}
RECORDS = {"fid_lenet": "evaluation", "quick/fid_lenet": "quick"}  # of a distance, in the status


class Listed(NamedTuple):
    """One run as a row of a table.

    Attributes:
        path: Its directory.
        state: running, stopped, done, diverged, failed; unreadable if its files are not ours.
        data: Name of the data set; this and what follows is empty or None where it is not known.
        model: Name of the model.
        phase: Its phase.
        epoch: Epochs that are finished.
        epochs: Epochs at the end.
        left: Seconds of training that are left, of a run that is running or stopped.
        distance: `fid_lenet` on the test images, else on the validation images.
        images: Which images that distance is to: "test", "quick" (fewer test images) or "val";
            and the sampler that drew the new ones, if it is not the prior.
    """

    path: Path
    state: str
    data: str = ""
    model: str = ""
    phase: str = ""
    epoch: int | None = None
    epochs: int | None = None
    left: float | None = None
    distance: float | None = None
    images: str = ""


def list_runs(folder: Path) -> list[Listed]:
    """Every run below a folder, or the folder itself; seed10 stands after seed9.

    Raises:
        UserError: There is none.
    """
    found = sorted(find_runs(folder), key=_natural)
    if not found:
        raise UserError(f"{folder}: there are no runs in it: name the output_dir of a training")
    return [_listed(RunDirectory(path)) for path in found]


def find_runs(folder: Path) -> set[Path]:
    """The run directories at or below a folder, while others come and go."""
    return {Path(place) for place, _, files in os.walk(folder) if "status.json" in files}


def _listed(run: RunDirectory) -> Listed:
    try:
        return _read(run)
    except (UserError, OSError, KeyError):  # damaged, or deleted meanwhile
        return Listed(run.path, "unreadable")


def _read(run: RunDirectory) -> Listed:
    status, config = run.read_status(), run.read_config()
    metrics = read_json(run.metrics) if run.metrics.exists() else status.get("latest", {})
    state = status["status"]
    if state == "interrupted" or (state == "running" and not run.is_locked()):
        state = "stopped"
    epochs = status.get("epochs", config["trainer"]["max_epochs"])
    key = next((key for key in DISTANCES if key in metrics), None)
    return Listed(
        run.path,
        state,
        config["data"]["name"],
        model_name(config),
        str(config["phase"]),
        status.get("epoch", epochs if state == "done" else None),
        epochs,
        _left(run, status, epochs, state),
        metrics[key] if key else None,
        _images(key, status) if key else "",
    )


def _images(key: str, status: dict[str, Any]) -> str:
    sampler = status.get(RECORDS.get(key, ""), {}).get("sampler")
    return f"{DISTANCES[key]}, {sampler}" if sampler else DISTANCES[key]


def _left(run: RunDirectory, status: dict[str, Any], epochs: int, state: str) -> float | None:
    """At the pace of the epochs so far; `status.json` was written when the last one ended."""
    if state not in ("running", "stopped") or not status.get("epoch"):
        return None
    left: float = status["seconds"] * (epochs / status["epoch"] - 1)
    since = time.time() - run.status.stat().st_mtime if state == "running" else 0.0
    return max(0.0, left - since)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers within a path by their size."""

    def parts() -> Iterator[tuple[int, str]]:
        for part in re.split(r"(\d+)", str(path)):
            yield (int(part), "") if part.isdecimal() else (-1, part)

    return list(parts())
