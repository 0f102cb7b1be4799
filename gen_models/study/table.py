"""The runs of a study as one table and two small archives, which outlive the run directories.

runs.csv      one line a run: arm, seed, how it was made, every metric
images.npz    squared error of each test image that a run recreated, float32 (n,)
pictures.npz  new and recreated images of a few runs, uint8 (n, h, w) or (n, h, w, 3)
"""

import csv
import math
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_models.analysis.metrics import order
from gen_models.analysis.page import OTHER_OUTPUT
from gen_models.analysis.runs import Run, read_arrays
from gen_models.errors import UserError, first_line
from gen_models.files import replaced, writing
from gen_models.study.definition import Study

RECORD = (  # the columns that say how a run was made
    "arm", "seed", "train", "model", "status", "finished", "measured", "commit", "code",
    "training_precision", "threads", "processor", "torch", "seconds",
)  # fmt: skip
RUNS, IMAGES, PICTURES = "runs.csv", "images.npz", "pictures.npz"


class Table(NamedTuple):
    """All that is known of a study's runs."""

    rows: list[Run]  # by arm and seed; their records have the columns `RECORD`
    images: dict[str, np.ndarray]  # "ARM/SEED/METRIC" -> squared error of each test image
    pictures: dict[str, np.ndarray]  # "ARM/SEED/new", "ARM/SEED/recreated", "real"


def run_key(row: Run) -> tuple[str, int]:
    """The arm and the seed of a row."""
    return row.record["arm"], row.seed


def of_study(study: Study, table: Table, *, planned: bool = True) -> Table:
    """The table with the runs alone of the study's arms and their options.

    Args:
        study: Its arms, their options and seeds.
        table: All runs that are known.
        planned: Whether those of the seeds that the study names, or those of others.
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
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*RECORD, *keys])
            for row in table.rows:
                numbers = (row.metrics.get(key, math.nan) for key in keys)
                texts = ("" if math.isnan(number) else repr(float(number)) for number in numbers)
                writer.writerow([*(row.record[key] for key in RECORD), *texts])
