"""From the run directories of a study into its table."""

import math
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gen_models.analysis.metrics import FID
from gen_models.analysis.runs import FINISHED, Run, read_run
from gen_models.errors import UserError
from gen_models.study.definition import Study
from gen_models.study.plan import PlannedRun
from gen_models.study.table import RECORD, Table, of_study, read_table, run_key, write_table

DIGITS = 8  # of a number
SHOWN = 20  # images in a picture
ENDS = ("/low", "/high")
Key = tuple[str, int]  # arm and seed


def collect(study: Study, runs: Iterable[PlannedRun], folder: Path) -> Table:
    """Read the finished runs, add them to what the folder's table has, and write it.

    A row that is there stays if its run is not on disk any more, and is replaced only by the same
    run trained or measured again.

    Raises:
        UserError: A file cannot be read or written, a run was measured with another sampler than
            its arm has, or recreated other images than the rest.
    """
    known = read_table(folder)
    rows = {run_key(row): row for row in known.rows}
    images = dict(known.images)
    finished = {each.key: each for each in runs if each.state in FINISHED}
    by_image = study.metrics_by_image()
    changed = set()
    for (arm, seed), planned in sorted(finished.items(), key=lambda item: item[0]):
        run = read_run(planned.path)
        _check_sampler(planned, run)
        row = _row(planned, run)
        if row != rows.get((arm, seed)):
            changed.add((arm, seed))
            rows[arm, seed] = row
        names = {f"{arm}/{seed}/{key}": key.replace("/", "_") for key in by_image.get(arm, ())}
        if names and ((arm, seed) in changed or not names.keys() <= images.keys()):
            arrays = run.arrays()
            _check_same_images(images, arrays, planned.path)
            images |= {k: arrays[a].astype(np.float32) for k, a in names.items() if a in arrays}
    table = Table([rows[key] for key in sorted(rows)], images, dict(known.pictures))
    _collect_pictures(table, study, finished, changed)
    arrays_of = {*known.images, *known.pictures}
    if changed or {*table.images, *table.pictures} != arrays_of:
        write_table(table, folder)
    return table


def _row(planned: PlannedRun, run: Run) -> Run:
    """A run as a row of the table, its record as text."""
    known = run.record
    device = known.get("device", "cpu")
    record = known | {
        "arm": planned.arm,
        "train": shlex.join(planned.overrides),
        "measured": known.get("evaluation", {}).get("finished"),
        "code": known["fingerprint"],
        "training_precision": run.settings["precision"],  # "precision" is a metric
        "processor": known["cpu_capability"] if device == "cpu" else device,
    }
    texts = {key: "" if record.get(key) is None else str(record[key]) for key in RECORD}
    numbers = {
        key: float(f"{value:.{DIGITS}g}")
        for key, value in run.metrics.items()
        if not key.endswith(ENDS) and key != "cost/seconds"
    }
    return Run(texts, numbers)


def _check_sampler(planned: PlannedRun, run: Run) -> None:
    """Make sure that a run's new images were drawn as its arm says."""
    if run.settings["sampler"] != planned.sampler:
        kind = f"--kind {planned.sampler}" if planned.sampler else "--remove"
        raise UserError(
            f"{planned.path}: measured with sampler={run.settings['sampler'] or 'null'}, and its "
            f"arm has sampler={planned.sampler or 'null'}: gen-models fit-sampler {planned.path} "
            f"{kind}, gen-models evaluate {planned.path}"
        )


def _check_same_images(
    images: dict[str, np.ndarray], arrays: dict[str, np.ndarray], path: Path
) -> None:
    """Make sure that a run recreated the same images as the others, by their nearest neighbours."""
    if "nearest_mse" not in arrays:
        return
    nearest = arrays["nearest_mse"].astype(np.float32)
    first = images.setdefault("nearest/mse", nearest)
    if first.shape != nearest.shape or not np.allclose(first, nearest, rtol=1e-3):
        raise UserError(
            f"{path}: recreated other test images than the study's other runs: "
            f"gen-models evaluate {path}"
        )


def _collect_pictures(
    table: Table, study: Study, runs: dict[Key, PlannedRun], changed: set[Key]
) -> None:
    """Images of each model's best run in the first table, and of its best that failed.

    The best of those whose images are at hand; all others are dropped.
    """
    best: dict[tuple[str, bool], Key] = {}
    rows = of_study(study, table).rows
    for row in sorted(rows, key=lambda row: row.metrics.get(FID, math.inf)):
        arm, seed = run_key(row)
        at_hand = (arm, seed) in runs or f"{arm}/{seed}/new" in table.pictures
        if FID in row.metrics and arm in (study.shown or study.arms) and at_hand:
            best.setdefault((row.model, row.failed), (arm, seed))
    wanted = {f"{arm}/{seed}": (arm, seed) for arm, seed in best.values()}
    for place, key in wanted.items():
        if key in runs and (key in changed or f"{place}/new" not in table.pictures):
            arrays = read_run(runs[key].path).arrays()
            names = {f"{place}/new": "samples", f"{place}/recreated": "recreated", "real": "test"}
            for name, kind in names.items():
                if f"pictures_{kind}" in arrays:
                    table.pictures[name] = arrays[f"pictures_{kind}"][:SHOWN]
    for name in list(table.pictures):
        if name != "real" and name.rpartition("/")[0] not in wanted:
            del table.pictures[name]
