"""The runs on disk that can be compared, and what there is to say about the others."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.analysis.metrics import FID, is_measure
from gen_models.analysis.runs import DISTANCES, Run, read_run
from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import read_record

HINT = "name run directories, or a folder of them such as outputs/mnist"


class Selection(NamedTuple):
    """The runs to compare."""

    runs: list[Run]
    notes: list[str]  # what is left out or unequal, a line each


def find_runs(paths: Sequence[str | Path]) -> Selection:
    """Read every finished run in `paths`, each once, in the order of their paths.

    Args:
        paths: Run directories, or folders of them at any depth. In a folder, what cannot be
            compared is left out and noted.

    Raises:
        UserError: Nothing to compare; a run that is named itself cannot be read; runs of more
            than one data set; one run in two folders; no run is evaluated.
    """
    by_path: dict[Path, Run] = {}
    notes: list[str] = []
    for folder in map(Path, paths):
        inside = list(_directories(folder))
        if not inside:
            raise UserError(f"{folder}: no run here: {HINT}")
        for path in inside:
            try:
                if path.resolve() not in by_path:
                    by_path[path.resolve()] = read_run(path)
            except UserError as error:
                if path == folder:
                    raise
                notes.append(f"left out: {error}")
    runs = _with_all_settings([*by_path.values()])
    if not runs:
        named = ", ".join(map(str, paths))
        raise UserError(f"{named}: no run to compare here ({notes[0]}): {HINT}")
    _check_comparable(runs)
    unmeasured = [run for run in runs if not run.measured]
    if len(unmeasured) == len(runs):
        named = ", ".join(map(str, paths))
        command = runs[0].evaluate_command
        raise UserError(f"{named}: its runs are not evaluated yet; first type {command}")
    notes += [f"not evaluated yet; type {run.evaluate_command}" for run in unmeasured]
    notes += [line for run in runs if (line := _other_sampler(run))]
    return Selection(_with_nan(runs), notes)


def _with_all_settings(runs: Sequence[Run]) -> list[Run]:
    """The same runs, all with the same settings in the same order; one that a run lacks is None."""
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
    """Refuse runs of several data sets or features, and two with the same settings and seed."""
    data: dict[tuple[str, str], Run] = {}
    features: dict[str, Run] = {}
    for run in runs:
        data.setdefault((run.settings["data"], run.digest), run)
        for name in run.features:
            features.setdefault(name, run)
    if len(data) > 1:
        named = ", ".join(f"{name} ({run.path})" for (name, _), run in data.items())
        raise UserError(f"runs on different data sets: {named}: compare each data set apart")
    if len(features) > 1:
        named = ", ".join(f"{name} ({run.path})" for name, run in features.items())
        raise UserError(
            f"runs whose distances are measured in different features: {named}: gen-models "
            "evaluate all of them again, or compare them apart"
        )
    first: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        twin = first.setdefault((run.seed, *run.settings.items()), run)
        if twin is not run:
            raise UserError(
                f"{twin.path} and {run.path}: the same settings and seed in two folders: "
                "name one of them"
            )


def _other_sampler(run: Run) -> str | None:
    """A note on a run that draws with another sampler than it was measured with."""
    measured, now = run.record["sampler"], read_record(RunDirectory(run.path)).get("name")
    if measured == now or DISTANCES.isdisjoint(run.metrics):
        return None
    return (
        f"{run.path}: measured with {measured or 'its prior'}, but draws with {now or 'its prior'} "
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
