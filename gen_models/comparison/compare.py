"""Which runs on disk can be compared, and all that is said of them: groups, verdicts, sweeps."""

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from gen_models.analysis.groups import Group, bounds, group_runs, measured
from gen_models.analysis.metrics import FID, HEADLINES, QUICK, is_measure, metric
from gen_models.analysis.runs import DISTANCES, Run, read_run
from gen_models.comparison import fairness
from gen_models.comparison.sweep import Sweep, sweeps
from gen_models.comparison.verdicts import Pair, judge
from gen_models.errors import UserError
from gen_models.runs.directory import RANDOM, RunDirectory, features_in_words
from gen_models.runs.sampler import read_record

HINT = "name run directories, or a folder of them such as outputs/mnist"

WITHOUT_MODEL = {
    "pca": "PCA, {} components",
    "nearest": "nearest image",
    "mean_image": "mean image",
}


@dataclass(frozen=True)
class Comparison:
    """The content of the report."""

    command: str  # that made it
    groups: list[Group]
    bounds: dict[str, float]  # floor/..., gaussian/..., noise/..., real/...
    features: str  # in which its distances are measured, the end of a sentence
    notes: list[str]  # what is left out or unequal, one line each
    verdicts: list[Pair]
    sweeps: list[Sweep]

    @property
    def runs(self) -> list[Run]:
        """All runs, by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.groups[0].settings["data"])

    @property
    def headlines(self) -> list[str]:
        """The metrics of the main table; those of a quick evaluation in columns of their own."""
        known = measured(self.groups)
        keys = [prefix + key for key in HEADLINES for prefix in ("", QUICK)]
        return [key for key in keys if key in known]

    @property
    def quick_images(self) -> str:
        """How many new images a quick measurement has drawn, "2,000"; "few" if they differ."""
        counts = {run.metrics.get(f"{QUICK}samples") for run in self.runs} - {None}
        return f"{counts.pop():,.0f}" if len(counts) == 1 else "few"

    @cached_property
    def image_size(self) -> float:
        """How many numbers an image has; infinite if no run has kept pictures."""
        pictures = (run.arrays().get("pictures_test") for run in self.runs if run.measured)
        return next((math.prod(each.shape[1:]) for each in pictures if each is not None), math.inf)

    @property
    def recreations(self) -> dict[str, float]:
        """What recreates test images without a model -> mean squared error, least first."""
        errors: dict[str, float] = {}
        for group in self.groups:
            for key, name in WITHOUT_MODEL.items():
                summary = group.summaries.get(f"{key}/mse")
                if summary and summary.finite:
                    size = group.latent_dim or group.settings.get("model.latent_dim")
                    errors.setdefault(name.format(size), summary.median)
        return dict(sorted(errors.items(), key=lambda item: item[1]))


def compare(paths: Sequence[str | Path], by: str | None = None) -> Comparison:
    """Compare runs: of run directories or folders of them, and against the setting `by`.

    Raises:
        UserError: Bad input; one line.
    """
    runs, notes = find_runs(paths)
    groups = group_runs(runs)
    runs = [run for group in groups for run in group.runs]
    limits, disagreements = bounds(runs)
    records = [record for run in runs for record in run.features.values()]
    features = features_in_words(records[0] if records else {})
    if any(RANDOM in run.features for run in runs):
        notes.append(f"distances are measured in {features}")
    notes += disagreements
    notes += [
        f"{run.path}: diverged: {run.record.get('error', 'a loss was not finite')}"
        for run in runs
        if run.diverged
    ]
    options = ["--by", by] if by else []
    return Comparison(
        command=shlex.join(["gen-models", "compare", *map(str, paths), *options]),
        groups=groups,
        bounds=limits,
        features=features,
        notes=notes + fairness.notes(runs),
        verdicts=judge(groups, [key for key in measured(groups) if metric(key).better], limits),
        sweeps=sweeps(groups, by) if by is not None else [],
    )


def find_runs(paths: Sequence[str | Path]) -> tuple[list[Run], list[str]]:
    """Read every finished run in `paths`, each once, in the order of their paths.

    In a folder, what cannot be compared is left out and noted.

    Returns:
        The runs, all with the same settings in the same order, one that a run lacks as None; a
        diverged one with NaN for what the others of its model have measured. And a line for each
        that is left out or was not measured as it would be now.

    Raises:
        UserError: Nothing to compare; a run that is named itself cannot be read; the runs cannot
            be compared; no run is evaluated.
    """
    by_path: dict[Path, Run] = {}
    notes: list[str] = []
    named = ", ".join(map(str, paths))
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
    if not by_path:
        raise UserError(f"{named}: no run to compare here ({notes[0]}): {HINT}")
    every = dict.fromkeys(key for run in by_path.values() for key in run.settings)
    runs = [replace(run, settings=every | run.settings) for run in by_path.values()]
    fairness.check(runs)
    unmeasured = [run for run in runs if not run.measured]
    if len(unmeasured) == len(runs):
        command = runs[0].evaluate_command
        raise UserError(f"{named}: its runs are not evaluated yet; first type {command}")
    notes += [f"not evaluated yet; type {run.evaluate_command}" for run in unmeasured]
    for run in (run for run in runs if run.measured and not run.diverged):
        then, now = run.record["sampler"], read_record(RunDirectory(run.path)).get("name")
        if then != now:
            notes.append(
                f"{run.path}: measured with {then or 'its prior'}, but draws with "
                f"{now or 'its prior'} now: {run.evaluate_command}"
            )
    return [_with_nan(run, runs) if run.diverged else run for run in runs], notes


def _with_nan(diverged: Run, runs: Sequence[Run]) -> Run:
    """A run with NaN for what the others of its model have measured, at least for a distance."""
    own = {key for run in runs if run.model == diverged.model for key in run.metrics}
    distances = DISTANCES & {key for run in runs for key in run.metrics} or {FID}
    keys = sorted(filter(is_measure, own)) or sorted(distances)
    return replace(diverged, metrics=dict.fromkeys(keys, math.nan))


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
