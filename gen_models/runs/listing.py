"""All runs under a folder, read from their files, even while they train. Without torch."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.errors import UserError
from gen_models.files import read_json
from gen_models.runs.directory import TRAINED, RunDirectory, features_of, find_runs

DISTANCES = {  # in the order of preference, with their images and their record in the status
    "fid_lenet": ("test", "evaluation"),
    "quick/fid_lenet": ("quick", "quick"),
    "val/fid_lenet": ("val", "validation"),
}


class Listed(NamedTuple):
    """One run as a row of a table; what is not known is empty or None."""

    path: Path
    state: str  # running, stopped, done, diverged, failed; unreadable if its files are damaged
    epoch: int | None = None  # epochs that are finished
    epochs: int | None = None  # epochs in all
    left: float | None = None  # seconds of training, if it is running or stopped
    distance: float | None = None  # `fid_lenet` on the test images, else on the validation images
    images: str = ""  # of the distance: test, quick (fewer) or val; its sampler; "random weights"
    tags: tuple[str, ...] = ()


def list_runs(folder: Path, tags: Sequence[str] = ()) -> list[Listed]:
    """Every run at or below a folder that has all of these tags, with seed10 after seed9.

    Raises:
        UserError: There is none.
    """
    paths = find_runs(folder)
    if not paths:
        raise UserError(f"{folder}: no runs are in this folder; name the output_dir of a training")
    runs = [_listed(RunDirectory(path)) for path in sorted(paths, key=_natural)]
    tagged = [run for run in runs if set(tags) <= set(run.tags)]
    if not tagged:
        known = ", ".join(sorted({tag for run in runs for tag in run.tags})) or "none"
        raise UserError(f"{folder}: no run has the tag {' and '.join(tags)}; known are: {known}")
    return tagged


def _listed(run: RunDirectory) -> Listed:
    try:
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
            status.get("epoch", epochs if state == "done" else None),
            epochs,
            _left(run, status, epochs, state),
            metrics[key] if key else None,
            _images(key, status) if key else "",
            tuple(status.get("tags", ())),
        )
    except (UserError, OSError, KeyError):  # damaged, or deleted meanwhile
        return Listed(run.path, "unreadable")


def _images(key: str, status: dict[str, Any]) -> str:
    images, name = DISTANCES[key]
    record = status.get(name, {})
    features = features_of(record)
    words = (images, record.get("sampler"), features if features != TRAINED else None)
    return ", ".join(filter(None, words))


def _left(run: RunDirectory, status: dict[str, Any], epochs: int, state: str) -> float | None:
    """Seconds at the pace of the epochs so far; `status.json` is as old as the last one's end."""
    if state not in ("running", "stopped") or not status.get("epoch"):
        return None
    left: float = status["seconds"] * (epochs / status["epoch"] - 1)
    since = time.time() - run.status.stat().st_mtime if state == "running" else 0.0
    return max(0.0, left - since)


def _natural(path: Path) -> str:
    """A key that sorts numbers within a path by their size."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), str(path))
