"""The report of a comparison: on the terminal, and as four files."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.table import Table

from gen_models.analysis import plots
from gen_models.analysis.groups import Group, measured
from gen_models.analysis.metrics import (
    BOUNDS,
    ENCODER,
    FID,
    HEADLINES,
    INVERSION,
    QUICK,
    metric,
    order,
)
from gen_models.analysis.page import Picture, picture, render, write_files
from gen_models.analysis.runs import missing_rule
from gen_models.comparison import cost, fairness, summary
from gen_models.comparison.compare import Comparison
from gen_models.runs.identity import model_title
from gen_models.terminal import say

PLOTTED = (FID, QUICK + FID, "coverage", ENCODER, INVERSION, "test/loss")
ON_TERMINAL = (FID, "coverage", ENCODER, INVERSION)
PAIRS = 4  # whose verdicts are printed
FAILED = 2  # failed runs of a group whose pictures are shown


class Album(NamedTuple):
    """The pictures of one run."""

    group: Group
    label: str  # of the group, with the seed
    pictures: dict[str, Picture]  # what they show -> new and recreated ones, if there are any
    command: str  # that draws them


class Cell(NamedTuple):
    """A metric of a group."""

    text: str  # the median
    details: list[str]  # smaller, a line each: the least and the most, the size of z
    full: str  # the median in full, for sorting; "" for none


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
    *models, last = dict.fromkeys(model_title(group.model) for group in groups)
    strips = [_strip(comparison, key) for key in PLOTTED if key in keys]
    real, albums = _albums(groups)
    few = f", {comparison.quick_images} images"
    return {
        "comparison": comparison,
        "groups": groups,
        "models": f"{', '.join(models)} and {last}" if models else last,
        "compared": summary.compared(comparison),
        "result": summary.result(comparison),
        "missing_rule": missing_rule(comparison.runs),
        "headlines": [
            (metric(key), HEADLINES[key.removeprefix(QUICK)] + few * key.startswith(QUICK))
            for key in shown
        ],
        "rows": _rows(groups, shown),
        "references": _references(comparison, shown),
        "plots": [plot for plot in strips if plot],
        "sampling": cost.against_cost(groups, cost.SAMPLING, comparison.bounds),
        "training": cost.against_cost(groups, cost.TRAINING, comparison.bounds),
        "sweeps": [(sweep, sweep.plot()) for sweep in comparison.sweeps],
        "real": real,
        "albums": albums,
        "all_metrics": [
            (metric(key), [_cell(group, key) for group in groups], _bounds(comparison, key))
            for key in keys
        ],
        "bounds": BOUNDS,
        "card": fairness.card(groups),
        "settings": [(group.label, fairness.other_settings(group)) for group in groups],
    }


def show_result(comparison: Comparison, written: Sequence[Path]) -> None:
    """Print the answer, the comparison in short, and which files were written."""
    for finding in summary.result(comparison):
        say(finding.text)
    for prefix in ("", QUICK):  # side by side they are too wide
        keys = [prefix + key for key in ON_TERMINAL if prefix + key in comparison.headlines]
        if keys:
            say(_main_table(comparison, keys))
    for pair in comparison.verdicts[:PAIRS]:
        headline = [verdict for verdict in pair.verdicts if verdict.is_headline]
        measured = "" if headline else " not compared, as they have no metric in common"
        say(f"{pair.one.label} against {pair.other.label}:{measured}")
        for verdict in headline:
            better = f" ({verdict.better} is better)" if verdict.better else ""
            say(f"  {verdict.metric} {verdict.text}{better}")
    if len(comparison.verdicts) > PAIRS:
        say(f"{len(comparison.verdicts) - PAIRS} more pairs in the report")
    for note in comparison.notes:
        say(f"! {note}")
    for path in written:
        say(f"  {path}")


def _main_table(comparison: Comparison, keys: Sequence[str]) -> Table:
    """The columns of the main table that fit on a terminal."""
    table = Table(box=SIMPLE, pad_edge=False)
    for head in ("", "failed", *(metric(key).title for key in keys)):  # in lines, never cut
        table.add_column(head.replace("/", "/\n"), overflow="fold")
    for group, failed, cells in _rows(comparison.groups, keys):
        numbers = ("\n".join([cell.text, *cell.details]) for cell in cells)
        table.add_row(group.label, failed, *numbers)
    table.add_section()
    for words, texts in _references(comparison, keys):
        table.add_row(words, "", *texts)
    return table


def _rows(groups: Sequence[Group], keys: Sequence[str]) -> list[tuple[Group, str, list[Cell]]]:
    """The main table: each group, how many of its measured runs failed, and its metrics."""
    rows = []
    for group in groups:
        failed = f"{len(group.failed)} of {len(group.measured)}" if group.measured else "-"
        rows.append((group, failed, [_cell(group, key) for key in keys]))
    return rows


def _cell(group: Group, key: str) -> Cell:
    """A metric of a group, without a word on its runs that failed."""
    values = group.summaries.get(key)
    if values is None or not values.finite:
        return Cell(metric(key).show(None if values is None else math.nan), [], "")
    lost = {*values.lost} - {run.seed for run in group.failed}
    not_finite = f"{len(lost)} of {len(values.values)} not finite" if lost else ""
    text = metric(key).show(values.median)
    details = [each for each in (values.ends, values.size, not_finite) if each not in ("", text)]
    return Cell(text, details, repr(values.median))


def _references(comparison: Comparison, keys: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Floor, ceilings and what recreates images without a model: the main table's last rows."""
    limits = zip(BOUNDS.values(), *(_bounds(comparison, key) for key in keys), strict=True)
    rows = [(words, list(texts)) for words, *texts in limits]
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
        plots.Row(group.label, models.index(group.model), group.summaries[key])
        for group in comparison.groups
        if key in group.summaries
    ]
    return plots.strip(rows, key, comparison.bounds)


def _albums(groups: Sequence[Group]) -> tuple[Picture | None, list[Album]]:
    """The real test images, and the new and recreated images of each group.

    Of its first run that did not fail, and of the first `FAILED` others that did.
    """
    real: Picture | None = None
    albums = []
    for group in groups:
        first = min(group.runs, key=lambda run: (run.failed or not run.measured, run.diverged))
        others = [run for run in group.failed if run is not first]
        for run in [first, *others[:FAILED]]:
            arrays = run.arrays()
            label = f"{group.label}, seed {run.seed}{' (failed)' if run.failed else ''}"
            way = "by its encoder" if "encoder_mse" in arrays else "by a search for z"
            kinds = {
                "New": picture(arrays.get("pictures_samples"), f"New images drawn by {label}"),
                f"Recreated {way}": picture(
                    arrays.get("pictures_recreated"), f"Test images recreated by {label}"
                ),
            }
            pictures = {kind: each for kind, each in kinds.items() if each}
            albums.append(Album(group, label, pictures, run.evaluate_command))
            test = arrays.get("pictures_test")
            real = real or picture(test, "Real test images, those recreated below")
    return real, albums


def to_csv(groups: Sequence[Group]) -> str:
    """Every number of every run, a row each; a diverged run's are nan."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("run", "group", "seed", "metric", "value"))
    for group in groups:
        for run in group.runs:
            for key in sorted(run.metrics, key=order):
                writer.writerow((run.path, group.label, run.seed, key, float(run.metrics[key])))
    return file.getvalue()


def to_json(comparison: Comparison) -> str:
    """Groups, verdicts and sweeps; what is not finite is null."""
    groups = {
        group.label: {
            "settings": group.settings,
            "runs": {run.seed: str(run.path) for run in group.runs},
            "fingerprints": sorted({str(run.record["fingerprint"]) for run in group.runs}),
            "metrics": {
                key: {
                    "median": _finite(each.median),
                    "failed": sorted(each.failed),
                    "values": {seed: _finite(value) for seed, value in each.values.items()},
                }
                for key in measured([group])
                for each in [group.summaries[key]]
            },
        }
        for group in comparison.groups
    }
    content = {
        "data": comparison.data,
        "groups": groups,
        "bounds": {key: _finite(value) for key, value in comparison.bounds.items()},
        "recreated_without_a_model": comparison.recreations,
        "verdicts": [
            {
                "group": pair.one.label,
                "against": pair.other.label,
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
