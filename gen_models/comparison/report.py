"""The report of a comparison: report.html, report.md, results.csv and results.json."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gen_models.comparison import compare, fairness, pictures, plots
from gen_models.comparison.compare import Comparison
from gen_models.comparison.metrics import (
    BOUNDS,
    ENCODER,
    FID,
    INVERSION,
    QUICK,
    headlines,
    metric,
    order,
)
from gen_models.comparison.table import Group, measured, show_median
from gen_models.errors import UserError

COLUMNS = ("run", "group", "seed", "metric", "value")
COSTS = ("cost/seconds", "cost/training_flops")  # quality is plotted against


class Cell(NamedTuple):
    """One number of a table."""

    text: str
    ends: str = ""  # least and most of the runs, "8.10 to 16.50"
    sort: str = ""  # the number in full


def write_report(comparison: Comparison, output: Path) -> list[Path]:
    """Write the four files; returns their paths.

    Args:
        comparison: Of the runs.
        output: The folder, made if need be.

    Raises:
        UserError: The folder cannot be written, or a run's pictures are not ours.
    """
    files: dict[str, str | bytes] = {
        f"report.{kind}": text
        for kind, text in render("gen_models.comparison", "report", _page(comparison)).items()
    }
    files["results.csv"] = to_csv(comparison.groups)
    files["results.json"] = to_json(comparison)
    return write_files(output, files)


def render(package: str, name: str, known: dict[str, Any]) -> dict[str, str]:
    """A page as "html" and as "md".

    Args:
        package: Whose templates it is made of.
        name: Of the two templates.
        known: What they show.
    """
    packages = dict.fromkeys((package, "gen_models.comparison"))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in packages]),
        autoescape=lambda name: bool(name) and str(name).endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    kinds = ("html", "md")
    return {kind: environment.get_template(f"{name}.{kind}.j2").render(known) for kind in kinds}


def write_files(folder: Path, files: dict[str, str | bytes]) -> list[Path]:
    """Write files into a folder, made if need be; returns their paths.

    Raises:
        UserError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}): choose another --output"
        ) from error
    return [folder / name for name in files]


def _page(comparison: Comparison) -> dict[str, Any]:
    """Everything that the templates show."""
    groups, bounds = comparison.groups, comparison.bounds
    keys = measured(groups)
    quality = QUICK + FID if FID not in keys and QUICK + FID in keys else FID
    seeds = [plots.seeds_plot(groups, key, bounds) for key in headlines("plots", keys)]
    costs = [plots.cost_plot(groups, cost, quality) for cost in COSTS]
    real, albums = pictures.albums(groups)
    return {
        "comparison": comparison,
        "groups": groups,
        "models": " and ".join(dict.fromkeys(group.model.upper() for group in groups)),
        "compared": compare.compared(comparison),
        "result": " ".join(compare.result(comparison)),
        "headlines": [metric(key) for key in comparison.headlines],
        "rows": [(group, [cell(group, key) for key in comparison.headlines]) for group in groups],
        "references": references(comparison),
        "plots": [Markup(svg) for svg in seeds if svg],
        "costs": [Markup(svg) for svg in costs if svg],
        "sweeps": [(sweep, Markup(plots.sweep_plot(sweep))) for sweep in comparison.sweeps],
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


def cell(group: Group, key: str) -> Cell:
    """Median and ends of a metric, marked where runs failed."""
    known, found = metric(key), group.summary(key)
    if found is None or found.median is None:
        return Cell(known.show(None if found is None else math.nan))
    least, most = (known.show(end(found.finite)) for end in (min, max))
    ends = f"{least} to {most}" if least != most else ""
    return Cell(show_median(known, found), ends, repr(found.median))


def references(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Floor, ceilings and what recreates images without a model: the main table's last rows."""
    keys = comparison.headlines
    limits = zip(BOUNDS.values(), *(_bounds(comparison, key) for key in keys), strict=True)
    rows = [(words, list(cells)) for words, *cells in limits]
    for words, error in comparison.recreations.items():
        shown = [metric(key).show(error if key in (ENCODER, INVERSION) else None) for key in keys]
        rows.append((words, shown))
    return [row for row in rows if any(text != "-" for text in row[1])]


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
            verdict._asdict()
            | {"found": verdict.found and verdict.found._asdict(), "better": verdict.better or None}
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
    metrics = {}
    for key in measured([group]):
        found = group.summaries[key]
        metrics[key] = {
            "median": found.median,
            "failed": sorted(found.failed),
            "values": {str(seed): _finite(value) for seed, value in found.values.items()},
        }
    return {
        "settings": group.settings,
        "runs": {str(run.seed): str(run.path) for run in group.runs},
        "fingerprints": sorted({str(run.status["fingerprint"]) for run in group.runs}),
        "metrics": metrics,
    }


def _bounds(comparison: Comparison, key: str) -> list[str]:
    return [metric(key).show(comparison.bounds.get(f"{name}/{key}")) for name in BOUNDS]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
