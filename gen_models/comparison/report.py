"""The report of a comparison: report.html, report.md, results.csv and results.json."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.analysis import plots
from gen_models.analysis.groups import Group, measured
from gen_models.analysis.metrics import (
    BOUNDS,
    ENCODER,
    FID,
    INVERSION,
    QUICK,
    headlines,
    metric,
    order,
)
from gen_models.analysis.page import Picture, picture, render, write_files
from gen_models.comparison import fairness, summary
from gen_models.comparison.compare import Comparison

COLUMNS = ("run", "group", "seed", "metric", "value")
COSTS = ("cost/seconds", "cost/training_flops")  # quality is plotted against
FAILED = 2  # failed runs of a group whose pictures are shown


class Album(NamedTuple):
    """The pictures of one run."""

    group: Group
    label: str  # of the group, with the seed
    pictures: dict[str, Picture]  # "new" and "recreated", those that there are
    command: str  # that draws them

    @property
    def width(self) -> int:
        """Pixels of the screen."""
        return max(picture.width for picture in self.pictures.values())


def write_report(comparison: Comparison, output: Path) -> list[Path]:
    """Write the four files into a folder, made if need be; returns their paths.

    Raises:
        UserError: The folder cannot be written, or a run's pictures are not ours.
    """
    files = render("gen_models.comparison", "report", _page(comparison))
    files["results.csv"] = to_csv(comparison.groups)
    files["results.json"] = to_json(comparison)
    return write_files(output, files)


def _page(comparison: Comparison) -> dict[str, Any]:
    """Everything that the templates show."""
    groups, keys, shown = comparison.groups, measured(comparison.groups), comparison.headlines
    quality = QUICK + FID if FID not in keys and QUICK + FID in keys else FID
    strips = [_strip(comparison, key) for key in headlines("plots", keys)]
    costs = [_cost_plot(groups, cost, quality) for cost in COSTS]
    real, albums = _albums(groups)
    return {
        "comparison": comparison,
        "groups": groups,
        "models": " and ".join(dict.fromkeys(group.model.upper() for group in groups)),
        "compared": summary.compared(comparison),
        "result": " ".join(summary.result(comparison)),
        "headlines": [metric(key) for key in shown],
        "rows": [(group, [cell(group, key) for key in shown]) for group in groups],
        "references": references(comparison),
        "plots": [plot for plot in strips if plot],
        "costs": [plot for plot in costs if plot],
        "sweeps": [(sweep, sweep.plot()) for sweep in comparison.sweeps],
        "real": real,
        "albums": albums,
        "all_metrics": [
            (metric(key), [cell(group, key) for group in groups], _bounds(comparison, key))
            for key in keys
        ],
        "bounds": BOUNDS,
        "card": fairness.card(groups),
        "settings": [(group.label, fairness.other_settings(group)) for group in groups],
    }


def cell(group: Group, key: str) -> tuple[str, str, str]:
    """A metric of a group: its median, marked where runs failed; its ends; the number in full."""
    values = group.summary(key)
    if values is None or not values.finite:
        return metric(key).show(None if values is None else math.nan), "", ""
    return values.text, values.ends, repr(values.median)


def references(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Floor, ceilings and what recreates images without a model: the main table's last rows."""
    keys = comparison.headlines
    limits = zip(BOUNDS.values(), *(_bounds(comparison, key) for key in keys), strict=True)
    rows = [(words, list(cells)) for words, *cells in limits]
    for words, error in comparison.recreations.items():
        shown = [metric(key).show(error if key in (ENCODER, INVERSION) else None) for key in keys]
        rows.append((words, shown))
    return [row for row in rows if any(text != "-" for text in row[1])]


def _bounds(comparison: Comparison, key: str) -> list[str]:
    """Floor and ceilings of a metric, for a person."""
    return [metric(key).show(comparison.bounds.get(f"{name}/{key}")) for name in BOUNDS]


def _strip(comparison: Comparison, key: str) -> plots.Strip | None:
    """Every run of each group by a metric."""
    models = list(dict.fromkeys(group.model for group in comparison.groups))
    rows = [
        plots.row(group.label, models.index(group.model), values)
        for group in comparison.groups
        if (values := group.summary(key))
    ]
    return plots.strip(rows, key, comparison.bounds)


def _cost_plot(groups: Sequence[Group], cost: str, key: str) -> plots.Scatter | None:
    """Quality against cost: every run a mark, on a logarithmic axis of cost."""
    spent, points = metric(cost), []
    for group in groups:
        for run in group.runs:
            x, y = (run.metrics.get(name, math.nan) for name in (cost, key))
            if math.isfinite(x) and math.isfinite(y) and x > 0:
                points.append((f"{group.model.upper()} {group.phase}", run.failed, (x, y)))
    if not points:
        return None
    series: dict[str, plots.Series] = {}
    for name, failed, point in points:
        own = series.setdefault(name, plots.Series(name, [], []))
        (own.failed if failed else own.sound).append(point)
    axis = plots.logarithmic([x for _, _, (x, _) in points], spent.show)
    words = [f"{n} {metric(key).show(y)} at {spent.show(x)}" for n, _, (x, y) in points]
    alt = f"{key} against {spent.meaning}: {'; '.join(words)}"
    return plots.scatter([*series.values()], key, axis, spent.words, alt)


def _albums(groups: Sequence[Group]) -> tuple[Picture | None, list[Album]]:
    """The real test images, and the new and recreated images of each group.

    Of its first run that did not fail, and of the first `FAILED` others that did.

    Raises:
        UserError: An evaluation.npz is not one of ours.
    """
    real: Picture | None = None
    albums = []
    for group in groups:
        first = min(group.runs, key=lambda run: (run.failed or not run.measured, run.diverged))
        others = [run for run in group.runs if run.failed and run is not first]
        for run in [first, *others[:FAILED]]:
            arrays = run.arrays()
            label = f"{group.label}, seed {run.seed}{' (failed)' if run.failed else ''}"
            new = picture(arrays.get("pictures_samples"), f"New images drawn by {label}")
            again = arrays.get("pictures_recreated")
            recreated = picture(again, f"Test images recreated by {label}")
            pictures = {k: p for k, p in (("new", new), ("recreated", recreated)) if p}
            albums.append(Album(group, label, pictures, run.evaluate_command))
            test = arrays.get("pictures_test")
            real = real or picture(test, "Real test images, those recreated below")
    return real, albums


def to_csv(groups: Sequence[Group]) -> str:
    """Every number of every run, a row each; a diverged run's are nan."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in groups:
        for run in group.runs:
            for key in sorted(run.metrics, key=order):
                writer.writerow((run.path, group.label, run.seed, key, float(run.metrics[key])))
    return file.getvalue()


def to_json(comparison: Comparison) -> str:
    """Groups, verdicts and sweeps; what is not finite is null."""
    content = {
        "data": comparison.data,
        "groups": {group.label: _group(group) for group in comparison.groups},
        "bounds": {key: _finite(value) for key, value in comparison.bounds.items()},
        "recreated_without_a_model": comparison.recreations,
        "verdicts": [
            {
                "group": verdict.group,
                "against": verdict.against,
                "metric": verdict.metric,
                "found": verdict.test and verdict.test._asdict(),
                "better": verdict.better or None,
                "text": verdict.text,
            }
            for pair in comparison.verdicts
            for verdict in pair.verdicts
        ],
        "sweeps": [
            {
                "by": sweep.key,
                "metric": sweep.metric,
                "lines": [
                    {"line": line.label, "best": line.best_value or None, "text": line.best}
                    for line in sweep.lines
                ],
            }
            for sweep in comparison.sweeps
        ],
        "notes": comparison.notes,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _group(group: Group) -> dict[str, Any]:
    """A group for results.json."""
    metrics = {
        key: {
            "median": _finite(each.median),
            "failed": sorted(each.failed),
            "values": {str(seed): _finite(value) for seed, value in each.values.items()},
        }
        for key in measured([group])
        for each in [group.summaries[key]]
    }
    return {
        "settings": group.settings,
        "runs": {str(run.seed): str(run.path) for run in group.runs},
        "fingerprints": sorted({str(run.record["fingerprint"]) for run in group.runs}),
        "metrics": metrics,
    }


def _finite(value: float) -> float | None:
    """The value, or None if it is not finite."""
    return value if math.isfinite(value) else None
