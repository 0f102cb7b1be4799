"""Everything that is said of many runs: groups, verdicts, sweeps, notes."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_models.analysis.groups import Group, bounds, families, group_runs, measured
from gen_models.analysis.metrics import HEADLINES, metric
from gen_models.comparison import fairness
from gen_models.comparison.find import find_runs
from gen_models.comparison.sweep import Sweep, sweeps
from gen_models.comparison.verdicts import Pair, judge

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

    @property
    def recreations(self) -> dict[str, float]:
        """What recreates test images without a model -> mean squared error, least first."""
        errors: dict[str, float] = {}
        for group in self.groups:
            for key, name in WITHOUT_MODEL.items():
                summary = group.summary(f"{key}/mse")
                if summary and summary.finite:
                    name = name.format(group.settings.get("model.latent_dim"))
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
        notes=[*selection.notes, *disagreements, *diverged, *fairness.notes(runs)],
        verdicts=judge(groups, keys, limits),
        sweeps=sweeps(groups, by) if by is not None else [],
    )
