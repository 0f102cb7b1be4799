"""Pictures of evaluation.npz as grids that a page can hold: the same noise, the same digits."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gen_models import figures
from gen_models.comparison.table import Group

COLUMNS = 10
FAILED = 2  # failed runs of a group that are shown
LEVELS = 16  # of grey: half the size, and no difference to the eye


class Picture(NamedTuple):
    """A grid of digits as a PNG inside a page."""

    uri: str  # data:image/png;base64,...
    width: int  # pixels
    height: int
    alt: str


class Album(NamedTuple):
    """The pictures of one run."""

    group: Group
    label: str  # of the group, with the seed
    pictures: dict[str, Picture]  # "new" and "recreated", those that there are
    command: str  # that draws them


def albums(groups: Sequence[Group]) -> tuple[Picture | None, list[Album]]:
    """The real test digits, and the new and recreated images of each group.

    Of its first run that did not fail, and of the first `FAILED` others that did.

    Raises:
        UserError: An evaluation.npz is not one of ours.
    """
    real: Picture | None = None
    found = []
    for group in groups:
        first = min(group.runs, key=lambda run: (run.failed or not run.measured, run.diverged))
        others = [run for run in group.runs if run.failed and run is not first]
        for run in [first, *others[:FAILED]]:
            arrays = run.arrays()
            label = f"{group.label}, seed {run.seed}{' (failed)' if run.failed else ''}"
            grids = {
                "new": grid(arrays.get("pictures_samples"), f"New digits drawn by {label}"),
                "recreated": grid(
                    arrays.get("pictures_recreated"), f"Test digits recreated by {label}"
                ),
            }
            drawn = {kind: picture for kind, picture in grids.items() if picture}
            found.append(Album(group, label, drawn, run.evaluate_command))
            test = arrays.get("pictures_test")
            real = real or grid(test, "Real test digits, those recreated below")
    return real, found


def grid(images: np.ndarray | None, alt: str) -> Picture | None:
    """Set images, (n, h, w) uint8, in rows of ten; None if there are none.

    Raises:
        ValueError: They are not pictures.
    """
    if images is None:
        return None
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be (n, h, w) uint8, got {images.shape} {images.dtype}")
    whole = figures.tile(images, COLUMNS)
    file = io.BytesIO()
    Image.fromarray(whole).quantize(LEVELS).save(file, format="PNG", optimize=True)
    code = base64.b64encode(file.getvalue()).decode()
    return Picture(f"data:image/png;base64,{code}", whole.shape[1], whole.shape[0], alt)
