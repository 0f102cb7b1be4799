"""Many runs -> everything that is said of them: groups, verdicts, claims, sweeps, fairness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_models.comparison import claims, fairness, sweep, table, verdicts
from gen_models.comparison.collect import find_runs
from gen_models.comparison.contrasts import Answer
from gen_models.comparison.metrics import FID, QUICK, metric
from gen_models.comparison.sweep import Sweep
from gen_models.comparison.table import Group
from gen_models.comparison.verdicts import Verdict

HEADLINES = [  # of the main table, where measured
    FID,
    "coverage",
    "missing_digits",
    "encoder/mse",
    "inversion/mse",
    "test/loss",
    "cost/seconds",
]
WAYS = {"nearest": "nearest image", "mean_image": "mean image"}


@dataclass(frozen=True)
class Comparison:
    """What the report tells."""

    paths: tuple[str, ...]
    groups: list[Group]
    bounds: dict[str, float]  # floor/..., gaussian/..., noise/..., real/...
    notes: list[str]  # what is left out or to be minded, one line each
    verdicts: list[tuple[Group, Group, list[Verdict]]]
    claims: list[Answer]
    sweeps: list[Sweep]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.groups[0].settings["data"])

    @property
    def main(self) -> list[Group]:
        """The phases themselves, or, where only variants of them were given, every group."""
        return [group for group in self.groups if group.reference] or self.groups

    @property
    def compared(self) -> str:
        """The groups and their seeds."""
        seeds = {
            group.label: f"seed{'s' if len(group.runs) > 1 else ''} "
            + ", ".join(str(run.seed) for run in group.runs)
            for group in self.groups
        }
        same = set(seeds.values())
        if len(same) > 1:
            return "; ".join(f"{label} ({found})" for label, found in seeds.items()) + "."
        return f"{'; '.join(seeds)}: {same.pop()}{' each' if len(seeds) > 1 else ''}."

    @property
    def headlines(self) -> list[str]:
        """The metrics of the main table; figures of 2,000 samples in columns of their own."""
        have = table.measured(self.groups)
        return [key for base in HEADLINES for key in (base, QUICK + base) if key in have]

    @property
    def answered(self) -> list[Answer]:
        """The claims that these runs decide, or leave open."""
        return [answer for answer in self.claims if answer.outcome != "not answered"]

    @property
    def unanswered(self) -> list[Answer]:
        """The claims that these runs do not answer."""
        return [answer for answer in self.claims if answer.outcome == "not answered"]

    @property
    def answer(self) -> list[str]:
        """The result in sentences with numbers."""
        said = [
            f"{line.label}: {line.best}."
            for sweep in self.sweeps
            for line in sweep.lines
            if line.best
        ]
        if not said:
            said = [self._best(key) for key in (FID, QUICK + FID, "coverage")]
            said += [*map(self._collapsed, self.groups), self._recreated(), self._cost()]
        return [sentence for sentence in said if sentence]

    def _best(self, key: str) -> str:
        """Which group is best by a metric, and whether that is beyond seed noise."""
        of = metric(key)
        sound = [
            (found.estimate.value, group)
            for group in self.groups
            if (found := group.summary(key)) and found.estimate and not found.diverged
        ]
        if len(sound) < 2:
            return ""
        sound.sort(key=lambda pair: pair[0], reverse=of.better == "higher")
        (value, first), (_, second) = sound[:2]
        told = verdicts.verdict(first, second, key)
        beside = [
            f"{name} {of.show(self.bounds[f'{bound}/{key}'])}"
            for bound, name in (("floor", "real images have"), ("gaussian", "a PCA Gaussian"))
            if f"{bound}/{key}" in self.bounds
        ]
        known = f", where {' and '.join(beside)}" if beside else ""
        text = told.text if told else ""
        return (
            f"{first.label} has the {of.better_word} {key}, {of.show(value)}{known}; against the "
            f"next, {second.label}: {text}."
        )

    def _collapsed(self, group: Group) -> str:
        """A collapsed seed decides a mean, so the other seeds' figures are told apart."""
        key = next((key for key in (FID, QUICK + FID) if group.summary(key)), None)
        gone = [run for run in group.runs if run.collapsed]
        if key is None or not gone:
            return ""
        seeds = ", ".join(f"{run.seed} ({run.missing_digits:.0f} digits missing)" for run in gone)
        of = metric(key)
        others = [of.show(run.metrics[key]) for run in group.runs if run not in gone]
        rest = f"; its other seeds have {key} {', '.join(others)}" if others else ""
        return f"{group.label} collapsed with seed {seeds}, which counts in every mean{rest}."

    def _recreated(self) -> str:
        ways = {"encoder/mse": "its encoder", "inversion/mse": "inversion"}
        parts = []
        for model in dict.fromkeys(group.model for group in self.groups):
            key = "encoder/mse" if model == "vae" else "inversion/mse"
            sound = [
                (found.estimate.value, group.label)
                for group in self.groups
                if group.model == model
                and (found := group.summary(key))
                and found.estimate
                and not found.diverged
            ]
            if sound:
                value, label = min(sound)
                parts.append(f"{metric(key).show(value)} by {label} ({ways[key]})")
        if not parts:
            return ""
        known = ", ".join(
            f"{name} {value:.5f}"
            for name, value in self.recreations().items()
            if name != WAYS["mean_image"]
        )
        told = f"Test images are recreated with a squared error of {', '.join(parts)}"
        return f"{told}{f'; without a model: {known}' if known else ''}."

    def _cost(self) -> str:
        of = metric("cost/seconds")
        parts = [
            f"{group.label} {of.show(found.estimate.value)} s"
            for group in self.main
            if (found := group.summary(of.key)) and found.estimate
        ]
        return f"Training took: {', '.join(parts)}." if parts else ""

    def recreations(self) -> dict[str, float]:
        """What recreates test images without a model: name -> mean squared error."""
        known: dict[str, float] = {}
        for group in self.groups:
            width = group.settings.get("model.latent_dim")
            for way, name in {"pca": f"PCA, {width} components", **WAYS}.items():
                found = group.summary(f"{way}/mse")
                if found and found.estimate:
                    known.setdefault(name, found.estimate.value)
        return dict(sorted(known.items(), key=lambda item: item[1]))


def compare(paths: Sequence[str | Path], by: str | None = None) -> Comparison:
    """Read runs and say all that can be said of them.

    Args:
        paths: Run directories, or folders of them.
        by: A setting to draw metrics against, as typed on the command line of training.

    Raises:
        UserError: Bad input; one line.
    """
    found = find_runs(paths)
    groups = table.group_runs(found.runs)
    bounds, notes = table.bounds(groups)
    keys = [key for key in table.measured(groups) if metric(key).better]
    against = []
    for one, other in verdicts.pairs(groups):
        told = [verdicts.verdict(one, other, key, bounds.get(f"real/{key}")) for key in keys]
        against.append((one, other, [verdict for verdict in told if verdict]))
    return Comparison(
        paths=tuple(map(str, paths)),
        groups=groups,
        bounds=bounds,
        notes=[*found.notes, *notes, *_diverged(groups), *fairness.mixed_fingerprints(groups)],
        verdicts=against,
        claims=claims.answers(groups, bounds),
        sweeps=sweep.sweeps(groups, by) if by else [],
    )


def _diverged(groups: Sequence[Group]) -> list[str]:
    return [
        f"{run.path}: diverged: {run.status.get('error', 'a loss was not finite')}"
        for group in groups
        for run in group.runs
        if run.diverged
    ]
