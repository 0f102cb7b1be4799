"""The runs of a study as one table and two small archives, which outlive the run directories.

runs.csv      one line a run: arm, seed, how it was made, every metric
images.npz    squared error of each test image that a run recreated, float32 (n,)
pictures.npz  new and recreated digits of a few runs, uint8 (n, 28, 28)
"""

import csv
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_models.comparison.collect import FINISHED, Run, has_failed, read_arrays, read_run
from gen_models.comparison.metrics import FID, order
from gen_models.errors import UserError, first_line
from gen_models.files import replaced
from gen_models.study.definition import Study
from gen_models.study.plan import PlannedRun

RECORD = (  # the columns that say how a run was made
    "arm", "seed", "train", "model", "status", "finished", "measured", "commit", "code",
    "training_precision", "threads", "processor", "torch", "seconds",
)  # fmt: skip
RUNS, IMAGES, PICTURES = "runs.csv", "images.npz", "pictures.npz"
DIGITS = 8  # of a number
SHOWN = 20  # digits in a picture
ENDS = ("/low", "/high")


class Row(NamedTuple):
    """One run."""

    record: dict[str, str]  # how it was made, by the columns `RECORD`
    metrics: dict[str, float]

    @property
    def run(self) -> tuple[str, int]:
        """Arm and seed."""
        return self.record["arm"], int(self.record["seed"])

    @property
    def diverged(self) -> bool:
        """Whether a loss stopped being finite: nothing was measured."""
        return self.record["status"] == "diverged"

    @property
    def failed(self) -> bool:
        """Whether its new images count as the worst, as `has_failed` decides."""
        return self.diverged or has_failed(self.metrics)


class Table(NamedTuple):
    """All that is known of a study's runs."""

    rows: list[Row]  # by arm and seed
    images: dict[str, np.ndarray]  # "ARM/SEED/METRIC" -> squared error of each test image
    pictures: dict[str, np.ndarray]  # "ARM/SEED/new", "ARM/SEED/recreated", "real"


def collect(study: Study, runs: Iterable[PlannedRun], folder: Path) -> Table:
    """Read the finished runs, add them to what the folder's table has, and write it.

    A row that is there stays if its run is not on disk any more, and is replaced only by the same
    run trained or measured again.

    Raises:
        UserError: A file cannot be read or written.
    """
    known = read_table(folder)
    rows = {row.run: row for row in known.rows}
    finished = {(each.arm, each.seed): each for each in runs if each.state in FINISHED}
    new = set()
    for key, planned in finished.items():
        run = read_run(planned.path)
        if run.settings["sampler"]:
            raise UserError(
                f"{planned.path}: measured with a sampler, and a study is of the models alone: "
                f"gen-models fit-sampler {planned.path} --remove, gen-models evaluate "
                f"{planned.path}"
            )
        row = _row(planned, run, rows.get(key))
        if row != rows.get(key):
            new.add(key)
            rows[key] = row
    table = Table([rows[key] for key in sorted(rows)], dict(known.images), dict(known.pictures))
    _collect_images(table, study, finished, new)
    _collect_pictures(table, study, finished, new)
    arrays = {*table.images, *table.pictures}
    if new or arrays != {*known.images, *known.pictures}:
        write_table(table, folder)
    return table


def of_study(study: Study, table: Table) -> Table:
    """The table with the runs alone that the study plans: of its arms, their options and seeds."""
    rows = [row for row in _of_arms(study, table) if row.run[1] in study.arms[row.run[0]].seeds]
    return table._replace(rows=rows)


def of_other_seeds(study: Study, table: Table) -> list[Row]:
    """The runs of the study's arms and their options, but of seeds that it does not name."""
    return [row for row in _of_arms(study, table) if row.run[1] not in study.arms[row.run[0]].seeds]


def _of_arms(study: Study, table: Table) -> list[Row]:
    trained = {name: shlex.join(study.overrides(name)) for name in study.arms}
    return [row for row in table.rows if row.record["train"] == trained.get(row.run[0])]


def missing(runs: Sequence[PlannedRun], table: Table) -> list[PlannedRun]:
    """The runs that are still to be trained, in their order.

    Not those that are finished on disk, nor those that left nothing there but a row in the table,
    trained by the same options.
    """
    trained = {(*row.run, row.record["train"]) for row in table.rows}
    return [
        run
        for run in runs
        if (state := run.state) not in FINISHED
        and not (state == "missing" and (run.arm, run.seed, shlex.join(run.overrides)) in trained)
    ]


def of_one_code(runs: Sequence[PlannedRun], table: Table) -> tuple[list[PlannedRun], list[str]]:
    """The runs whose arm has no run of other code, and a line for each arm that has."""
    codes = {row.record["arm"]: row.record for row in table.rows}
    kept, refused = [], Counter[tuple[str, str]]()
    for run in runs:
        earlier = run.earlier if run.earlier and run.earlier.state == "done" else None
        arms = [each.arm for each in (run, earlier) if each]
        if odd := [arm for arm in arms if arm in codes and codes[arm]["code"] != run.code]:
            refused[run.arm, odd[0]] += 1
        else:
            kept.append(run)
    return kept, [
        f"arms.{arm}: {count} not trained: runs of {odd} in {RUNS} are of other code (commit "
        f"{codes[odd]['commit'] or 'unknown'}): train at that commit, or take them out"
        for (arm, odd), count in refused.items()
    ]


def read_table(folder: Path) -> Table:
    """What `write_table` wrote; empty if there is nothing.

    Raises:
        UserError: A file is not one of ours.
    """
    file = folder / RUNS
    rows = []
    if file.exists():
        try:
            with file.open(newline="", encoding="utf-8") as lines:
                for given in csv.DictReader(lines):
                    record = {key: given.pop(key) for key in RECORD}
                    numbers = {key: float(text) for key, text in given.items() if text}
                    rows.append(Row(record | {"seed": str(int(record["seed"]))}, numbers))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"{file}: not a table of a study's runs ({first_line(error)})"
            ) from error
    return Table(rows, read_arrays(folder / IMAGES), read_arrays(folder / PICTURES))


def write_table(table: Table, folder: Path) -> None:
    """Write the three files, each whole or not at all.

    Raises:
        UserError: The folder cannot be written.
    """
    keys = sorted({key for row in table.rows for key in row.metrics}, key=order)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, arrays in ((IMAGES, table.images), (PICTURES, table.pictures)):
            with replaced(folder / name) as temporary:
                np.savez_compressed(temporary, **dict(sorted(arrays.items())))  # type: ignore[arg-type]
        # last: a row that is there has all of its arrays
        with (
            replaced(folder / RUNS) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*RECORD, *keys])
            for row in table.rows:
                numbers = (_number(row.metrics.get(key)) for key in keys)
                writer.writerow([*(row.record[key] for key in RECORD), *numbers])
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}): choose another --output"
        ) from error


def _row(planned: PlannedRun, run: Run, before: Row | None) -> Row:
    status = run.status
    device = status.get("device", "cpu")
    record: dict[str, Any] = {
        "arm": planned.arm,
        "seed": planned.seed,
        "train": shlex.join(planned.overrides),
        "model": run.model,
        "status": status["status"],
        "finished": status.get("finished", ""),
        "measured": status.get("evaluation", {}).get("finished", ""),
        "code": status["fingerprint"],
        "training_precision": run.settings["precision"],  # "precision" is a metric
        "threads": status.get("threads", ""),
        "processor": status["cpu_capability"] if device == "cpu" else device,
        "torch": status["versions"].get("torch", ""),
        "seconds": status.get("seconds", ""),
    }
    same = before is not None and before.record["finished"] == record["finished"]
    record["commit"] = status.get("commit", before.record["commit"] if before and same else "")
    numbers = {
        key: float(f"{value:.{DIGITS}g}")
        for key, value in run.metrics.items()
        if not key.endswith(ENDS) and key != "cost/seconds"
    }
    return Row({key: str(record[key]) for key in RECORD}, numbers)


def _collect_images(
    table: Table,
    study: Study,
    runs: dict[tuple[str, int], PlannedRun],
    new: set[tuple[str, int]],
) -> None:
    """The errors of each image of the runs that are compared image by image.

    Raises:
        UserError: A run recreated other images than the rest.
    """
    wanted = study.metrics_by_image()
    for (arm, seed), planned in sorted(runs.items(), key=lambda item: item[0]):
        keys = [f"{arm}/{seed}/{key}" for key in wanted.get(arm, ())]
        if all(key in table.images and (arm, seed) not in new for key in keys):
            continue
        arrays = read_run(planned.path).arrays()
        for key in wanted[arm]:
            if (name := key.replace("/", "_")) in arrays:
                table.images[f"{arm}/{seed}/{key}"] = arrays[name].astype(np.float32)
        if "nearest_mse" not in arrays:
            continue
        nearest = arrays["nearest_mse"].astype(np.float32)  # tells which images they were
        first = table.images.setdefault("nearest/mse", nearest)
        if first.shape != nearest.shape or not np.allclose(first, nearest, rtol=1e-3):
            raise UserError(
                f"{planned.path}: recreated other test images than the study's other runs: "
                f"gen-models evaluate {planned.path}"
            )


def _collect_pictures(
    table: Table,
    study: Study,
    runs: dict[tuple[str, int], PlannedRun],
    new: set[tuple[str, int]],
) -> None:
    """Digits of each model's best run in the first table, and of its best that failed.

    The best of those whose digits are at hand; all others are dropped.
    """
    best: dict[tuple[str, bool], Row] = {}
    rows = of_study(study, table).rows
    for row in sorted(rows, key=lambda row: row.metrics.get(FID, math.inf)):
        shown = FID in row.metrics and row.run[0] in (study.shown or study.arms)
        if shown and (row.run in runs or f"{_place(row)}/new" in table.pictures):
            best.setdefault((row.record["model"], row.failed), row)
    wanted = {_place(row): row.run for row in best.values()}
    for place, run in wanted.items():
        if run in runs and (run in new or f"{place}/new" not in table.pictures):
            arrays = read_run(runs[run].path).arrays()
            for name, key in (("new", "samples"), ("recreated", "recreated"), ("real", "test")):
                if f"pictures_{key}" in arrays:
                    where = name if name == "real" else f"{place}/{name}"
                    table.pictures[where] = arrays[f"pictures_{key}"][:SHOWN]
    for key in list(table.pictures):
        if key != "real" and key.rpartition("/")[0] not in wanted:
            del table.pictures[key]


def _place(row: Row) -> str:
    """Of a run's digits among the pictures."""
    return "/".join(map(str, row.run))


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
