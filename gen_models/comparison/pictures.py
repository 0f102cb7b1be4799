"""Pictures of evaluation.npz as grids that a page can hold: the same noise, the same digits."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gen_models.comparison.table import Group

COLUMNS = 10
LINE = 1  # pixels between pictures
GREY = 128


class Picture(NamedTuple):
    """A grid of digits as a PNG inside a page."""

    uri: str  # data:image/png;base64,...
    width: int  # pixels
    height: int
    alt: str


class Album(NamedTuple):
    """The pictures of one group: of its first run that did not diverge."""

    label: str
    samples: Picture | None
    recreated: Picture | None
    command: str  # that draws them


def albums(groups: Sequence[Group]) -> tuple[Picture | None, list[Album]]:
    """The real test digits, and each group's new and recreated images.

    Raises:
        UserError: An evaluation.npz is not one of ours.
    """
    real: Picture | None = None
    found = []
    for group in groups:
        run = next((run for run in group.runs if not run.diverged), group.runs[0])
        arrays = run.arrays()
        samples, recreated = (
            grid(arrays[name], alt) if name in arrays else None
            for name, alt in (
                ("pictures_samples", f"New digits drawn by {group.label}, seed {run.seed}"),
                ("pictures_recreated", f"Test digits recreated by {group.label}, seed {run.seed}"),
            )
        )
        if real is None and "pictures_test" in arrays:
            real = grid(arrays["pictures_test"], "Real test digits, those recreated below")
        found.append(Album(group.label, samples, recreated, f"gen-models evaluate {run.path}"))
    return real, found


def grid(images: np.ndarray, alt: str) -> Picture:
    """Set (n, 28, 28) uint8 images in rows of ten, with grey lines between.

    Raises:
        ValueError: They are not pictures.
    """
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be (n, h, w) uint8, got {images.shape} {images.dtype}")
    n, height, width = images.shape
    rows = -(-n // COLUMNS)
    whole = np.full(
        (rows * (height + LINE) + LINE, COLUMNS * (width + LINE) + LINE), GREY, dtype=np.uint8
    )
    for index, image in enumerate(images):
        row, column = divmod(index, COLUMNS)
        top, left = LINE + row * (height + LINE), LINE + column * (width + LINE)
        whole[top : top + height, left : left + width] = image
    file = io.BytesIO()
    Image.fromarray(whole).save(file, format="PNG", optimize=True)
    code = base64.b64encode(file.getvalue()).decode()
    return Picture(f"data:image/png;base64,{code}", whole.shape[1], whole.shape[0], alt)
