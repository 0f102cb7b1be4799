"""Images of a trained model, written to files."""

import io
from math import ceil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen_models import figures
from gen_models.errors import UserError
from gen_models.figures import as_bytes
from gen_models.files import replaced, writing
from gen_models.models.interface import Encoder, GenerativeModel, draw, reconstruct
from gen_models.models.sampler import without_sampler
from gen_models.runs.classifier import load_run_data
from gen_models.runs.directory import RunDirectory
from gen_models.seeding import generator

ROWS = 20  # at most, of a grid that has a row for each class


def check_output(path: Path, endings: set[str]) -> None:
    """Refuse a file that cannot be written, before anything is computed."""
    if path.suffix not in endings:
        raise UserError(f"--output {path}: must end in {' or '.join(sorted(endings))}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}")


def draw_images(model: GenerativeModel, count: int, seed: int, label: int | None = None) -> Tensor:
    """New images, (count, c, h, w) in [0, 1]; a larger count adds images to the same first ones.

    Args:
        model: In eval mode.
        count: Number of images.
        seed: Seed of the noise.
        label: The class that a conditional model shall draw; None: all of them in turn.

    Raises:
        UserError: The model draws no such class, or does not know of classes.
    """
    if label is not None and not model.conditional:
        name = type(without_sampler(model)).__name__
        raise UserError(
            f"--class/--digit {label}: this {name} is not conditional and draws any class: name a "
            "run that was trained with model.conditional=true"
        )
    if label is not None and not 0 <= label < model.classes:
        raise UserError(
            f"--class/--digit {label}: this model draws the classes 0 to {model.classes - 1}, "
            "in the order of their names: name one of them"
        )
    labels = None
    if model.conditional:
        every = torch.arange(count) % model.classes
        labels = every if label is None else torch.full((count,), label)
    return draw(model, count, lambda start: generator("sample", seed, start), labels)


def write_images(images: Tensor, path: Path, *, classes: int = 0) -> None:
    """Write images as .npy, uint8 (n, h, w) or in colour (n, h, w, 3), or as a .png grid.

    Args:
        images: (n, c, h, w) in [0, 1].
        path: The file.
        classes: They show so many classes in turn. Of up to 20, the grid has a row for each; else
            it is about square, and the images follow one another from row to row.
    """
    pixels = as_bytes(images).numpy()
    with writing(f"--output {path}"), replaced(path) as temporary:
        if path.suffix == ".npy":
            content = io.BytesIO()  # because NumPy gives no reason if a file is not written whole
            np.save(content, pixels)
            temporary.write_bytes(content.getbuffer())
        else:
            grid = (
                _rows_by_class(pixels, classes)
                if 0 < classes <= ROWS
                else figures.tile(pixels, figures.columns_for(pixels, ceil(len(pixels) ** 0.5)))
            )
            zoom = figures.zoom_for(pixels, 3)
            Image.fromarray(grid.repeat(zoom, 0).repeat(zoom, 1)).save(temporary)


def _rows_by_class(pixels: np.ndarray, classes: int) -> np.ndarray:
    rows = min(classes, len(pixels))
    grey = np.full((-len(pixels) % rows, *pixels.shape[1:]), figures.GREY, pixels.dtype)
    columns = np.concatenate([pixels, grey]).reshape(-1, rows, *pixels.shape[1:])
    return figures.tile(columns.swapaxes(0, 1).reshape(-1, *pixels.shape[1:]), len(columns))


def write_pairs(
    model: GenerativeModel, run: RunDirectory, data_root: str | Path | None, count: int, path: Path
) -> int:
    """Write `count` test images, or all, above their reconstructions; return their number."""
    if not isinstance(model, Encoder):
        name = type(model).__name__
        raise UserError(f"a {name} has no encoder, so it cannot reconstruct: name a VAE's run")
    test = load_run_data(run, data_root).splits["test"]
    images, labels = test.take(slice(count))
    real = images.float() / 255
    above, below = (as_bytes(some).numpy() for some in (real, reconstruct(model, real, labels)))
    figure = figures.picture(
        above,
        figures.columns_for(above, 20),
        below=below,
        title="test images above, their reconstructions below",
    )
    with writing(f"--output {path}"), replaced(path) as temporary:
        figures.save(figure, temporary)
    return len(images)
