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
LEVELS = 16  # of grey: half the size, and no difference to the eye


class Picture(NamedTuple):
    """A grid of digits as a PNG inside a page."""

    uri: str  # data:image/png;base64,...
    width: int  # pixels
    height: int
    alt: str


class Album(NamedTuple):
    """The pictures of one run."""

    group: str  # its label
    label: str  # with the seed
    samples: Picture | None
    recreated: Picture | None
    command: str  # that draws them


def albums(groups: Sequence[Group]) -> tuple[Picture | None, list[Album]]:
    """The real test digits, and the new and recreated images of each group.

    Of its first run that did not diverge, and of every run that collapsed.

    Raises:
        UserError: An evaluation.npz is not one of ours.
    """
    real: Picture | None = None
    found = []
    for group in groups:
        first = next((run for run in group.runs if not run.diverged), group.runs[0])
        for run in [first, *(run for run in group.runs if run.collapsed and run is not first)]:
            arrays = run.arrays()
            label = f"{group.label}, seed {run.seed}{' (collapsed)' if run.collapsed else ''}"
            samples, recreated = (
                grid(arrays[name], f"{words} {label}") if name in arrays else None
                for name, words in (
                    ("pictures_samples", "New digits drawn by"),
                    ("pictures_recreated", "Test digits recreated by"),
                )
            )
            if real is None and "pictures_test" in arrays:
                real = grid(arrays["pictures_test"], "Real test digits, those recreated below")
            command = f"gen-models evaluate {run.path}"
            found.append(Album(group.label, label, samples, recreated, command))
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
    Image.fromarray(whole).quantize(LEVELS).save(file, format="PNG", optimize=True)
    code = base64.b64encode(file.getvalue()).decode()
    return Picture(f"data:image/png;base64,{code}", whole.shape[1], whole.shape[0], alt)
