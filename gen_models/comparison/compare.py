"""Everything that is said of many runs: groups, verdicts, sweeps, notes."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gen_models.analysis.groups import Group, bounds, families, group_runs, measured
from gen_models.analysis.metrics import HEADLINES, metric
from gen_models.analysis.runs import Run, missing_rule
from gen_models.comparison import fairness
from gen_models.comparison.find import find_runs
from gen_models.comparison.sweep import Sweep, sweeps
from gen_models.comparison.verdicts import Pair, judge
from gen_models.runs.directory import RANDOM, features_in_words

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
    notes: list[str]  # what is left out or unequal, one line each
    verdicts: list[Pair]
    sweeps: list[Sweep]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.groups[0].settings["data"])

    @property
    def features(self) -> str:
        """In which features its distances are measured, the end of a sentence."""
        records = [r for g in self.groups for run in g.runs for r in run.features.values()]
        return features_in_words(records[0] if records else {})

    @property
    def missing_rule(self) -> str:
        """How much must be missing from a run's new images for a failure."""
        return missing_rule(run for group in self.groups for run in group.runs)

    @property
    def main(self) -> list[Group]:
        """The phases themselves; all variants of one that was not given without options."""
        return [
            group
            for family in families(self.groups)
            for group in family
            if group.reference or not any(each.reference for each in family)
        ]

    @property
    def headlines(self) -> list[str]:
        """The metrics of the main table; those of 2,000 samples in columns of their own."""
        known = measured(self.groups)
        return [key for key in HEADLINES if key in known]

    @cached_property
    def image_size(self) -> float:
        """How many numbers an image has; infinite if no run has kept pictures."""
        for run in (run for group in self.groups for run in group.runs if run.measured):
            if "pictures_test" in (arrays := run.arrays()):
                return math.prod(arrays["pictures_test"].shape[1:])
        return math.inf

    @property
    def recreations(self) -> dict[str, float]:
        """What recreates test images without a model -> mean squared error, least first."""
        errors: dict[str, float] = {}
        for group in self.groups:
            for key, name in WITHOUT_MODEL.items():
                summary = group.summary(f"{key}/mse")
                if summary and summary.finite:
                    size = group.latent_dim or group.settings.get("model.latent_dim")
                    name = name.format(size)
                    errors.setdefault(name, summary.median)
        return dict(sorted(errors.items(), key=lambda item: item[1]))


def compare(paths: Sequence[str | Path], by: str | None = None) -> Comparison:
    """Compare runs: of run directories or folders of them, and against the setting `by`.

    Raises:
        UserError: Bad input; one line.
    """
    selection = find_runs(paths)
    groups = group_runs(selection.runs)
    runs = [run for group in groups for run in group.runs]
    limits, disagreements = bounds(runs)
    diverged = [
        f"{run.path}: diverged: {run.record.get('error', 'a loss was not finite')}"
        for run in runs
        if run.diverged
    ]
    keys = [key for key in measured(groups) if metric(key).better]
    options = ["--by", by] if by else []
    return Comparison(
        command=shlex.join(["gen-models", "compare", *map(str, paths), *options]),
        groups=groups,
        bounds=limits,
        notes=[
            *selection.notes,
            *_without_classifier(runs),
            *disagreements,
            *diverged,
            *fairness.notes(runs),
        ],
        verdicts=judge(groups, keys, limits),
        sweeps=sweeps(groups, by) if by is not None else [],
    )


def _without_classifier(runs: Sequence[Run]) -> list[str]:
    """A line, if distances are not measured in the features of a classifier."""
    records = [run.features[RANDOM] for run in runs if RANDOM in run.features]
    return [f"distances are measured in {features_in_words(records[0])}"] if records else []
