"""The runs of a study as one table and two small archives, which outlive the run directories.

runs.csv      one line a run: arm, seed, how it was made, every metric
images.npz    squared error of each test image that a run recreated, float32 (n,)
pictures.npz  new and recreated images of a few runs, uint8 (n, h, w) or (n, h, w, 3)
"""

import csv
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_models.analysis.metrics import FID, order
from gen_models.analysis.page import OTHER_OUTPUT
from gen_models.analysis.runs import FINISHED, Run, read_arrays, read_run
from gen_models.errors import UserError, first_line
from gen_models.files import replaced, writing
from gen_models.study.definition import Study
from gen_models.study.plan import PlannedRun

RECORD = (  # the columns that say how a run was made
    "arm", "seed", "train", "model", "status", "finished", "measured", "commit", "code",
    "training_precision", "threads", "processor", "torch", "seconds",
)  # fmt: skip
RUNS, IMAGES, PICTURES = "runs.csv", "images.npz", "pictures.npz"
DIGITS = 8  # of a number
SHOWN = 20  # images in a picture
Key = tuple[str, int]  # arm and seed


class Table(NamedTuple):
    """All that is known of a study's runs."""

    rows: list[Run]  # by arm and seed; their records have the columns `RECORD`
    images: dict[str, np.ndarray]  # "ARM/SEED/METRIC" -> squared error of each test image
    pictures: dict[str, np.ndarray]  # "ARM/SEED/new", "ARM/SEED/recreated", "real"


def run_key(row: Run) -> Key:
    """The arm and the seed of a row."""
    return row.record["arm"], row.seed


def of_study(study: Study, table: Table, *, planned: bool = True) -> Table:
    """The table with only the runs of the study's arms, options and seeds.

    If not `planned`: of its arms and options, with seeds that it does not name.
    """
    trained = {name: shlex.join(study.overrides(name)) for name in study.arms}
    own = [row for row in table.rows if row.record["train"] == trained.get(row.record["arm"])]
    rows = [row for row in own if (row.seed in study.arms[row.record["arm"]].seeds) == planned]
    return table._replace(rows=rows)


def read_table(folder: Path) -> Table:
    """What `write_table` wrote; empty if there is nothing.

    Raises:
        UserError: A file is not one of ours.
    """
    file, rows = folder / RUNS, []
    if file.exists():
        try:
            with file.open(newline="", encoding="utf-8") as lines:
                for cells in csv.DictReader(lines):
                    record = {key: cells.pop(key) for key in RECORD}
                    record["seed"] = str(int(record["seed"]))
                    numbers = {key: float(text) for key, text in cells.items() if text}
                    rows.append(Run(record, numbers))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"{file}: not a table of a study's runs ({first_line(error)}): restore it, or "
                "move it away"
            ) from error
    return Table(rows, read_arrays(folder / IMAGES), read_arrays(folder / PICTURES))


def write_table(table: Table, folder: Path) -> None:
    """Write the three files, each whole or not at all.

    Raises:
        UserError: The folder cannot be written.
    """
    keys = sorted({key for row in table.rows for key in row.metrics}, key=order)
    with writing(folder, OTHER_OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        for name, arrays in ((IMAGES, table.images), (PICTURES, table.pictures)):
            with replaced(folder / name) as temporary:
                np.savez_compressed(temporary, **dict(sorted(arrays.items())))  # type: ignore[arg-type]
        # last: a row that is there has all of its arrays
        with (
            replaced(folder / RUNS) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, [*RECORD, *keys], lineterminator="\n")
            writer.writeheader()
            for row in table.rows:
                numbers = {k: value for k, value in row.metrics.items() if not math.isnan(value)}
                writer.writerow(row.record | numbers)


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
    images, pictures = dict(known.images), dict(known.pictures)
    by_image = study.metrics_by_image()
    for planned in sorted((run for run in runs if run.state in FINISHED), key=lambda run: run.key):
        run, place = read_run(planned.path), f"{planned.arm}/{planned.seed}"
        _check_sampler(planned, run)
        rows[planned.key] = _row(planned, run)
        arrays = run.arrays()
        if planned.arm in by_image:
            _check_same_images(images, arrays, planned.path)
        for key in by_image.get(planned.arm, ()):
            if (name := key.replace("/", "_")) in arrays:
                images[f"{place}/{key}"] = arrays[name].astype(np.float32)
        kinds = {f"{place}/new": "samples", f"{place}/recreated": "recreated", "real": "test"}
        for name, kind in kinds.items():
            if f"pictures_{kind}" in arrays:
                pictures[name] = arrays[f"pictures_{kind}"][:SHOWN]
    table = Table([rows[key] for key in sorted(rows)], images, pictures)
    table = table._replace(pictures=_best_pictures(study, table))
    names = {*table.images, *table.pictures}
    if table.rows != known.rows or names != {*known.images, *known.pictures}:
        write_table(table, folder)
    return table


def missing(runs: Sequence[PlannedRun], table: Table) -> list[PlannedRun]:
    """The runs that are still to be trained, in their order.

    Not those that are finished on disk, nor those that left nothing there but a row in the table,
    trained by the same options.
    """
    trained = {(*run_key(row), row.record["train"]) for row in table.rows}
    return [
        run
        for run in runs
        if (state := run.state) not in FINISHED
        and not (state == "missing" and (*run.key, shlex.join(run.overrides)) in trained)
    ]


def of_one_code(runs: Sequence[PlannedRun], table: Table) -> tuple[list[PlannedRun], list[str]]:
    """The runs whose arm has no run of other code, and a line for each arm that has."""
    codes = {row.record["arm"]: row.record for row in table.rows}
    kept, refused = [], Counter[tuple[str, str]]()
    for run in runs:
        arms = [each.arm for each in (run, run.extended) if each]
        if other := [arm for arm in arms if arm in codes and codes[arm]["code"] != run.code]:
            refused[run.arm, other[0]] += 1
        else:
            kept.append(run)
    return kept, [
        f"arms.{arm}: {count} not trained: runs of {other} in {RUNS} are of other code (commit "
        f"{codes[other]['commit'] or 'unknown'}): train at that commit, or take them out"
        for (arm, other), count in refused.items()
    ]


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
        if not key.endswith(("/low", "/high")) and key != "cost/seconds"
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


def _best_pictures(study: Study, table: Table) -> dict[str, np.ndarray]:
    """Those of each model's best run in the first table, and of its best that failed."""
    best: dict[tuple[str, bool], str] = {}
    rows = of_study(study, table).rows
    for row in sorted(rows, key=lambda row: row.metrics.get(FID, math.inf)):
        arm, seed = run_key(row)
        if arm in (study.shown or study.arms) and f"{arm}/{seed}/new" in table.pictures:
            best.setdefault((row.model, row.failed), f"{arm}/{seed}")
    return {
        name: images
        for name, images in table.pictures.items()
        if name == "real" or name.rpartition("/")[0] in best.values()
    }
