"""Images out of a trained model, into files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gen_models import figures
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.metrics.pixels import as_bytes
from gen_models.models.interface import Encoder, GenerativeModel, draw, reconstruct
from gen_models.seeding import generator

ZOOM = 3  # screen pixels a pixel


def check_output(path: Path, endings: set[str]) -> None:
    """Refuse a file that cannot be written, before anything is computed."""
    if path.suffix not in endings:
        raise UserError(f"--output {path}: must end in {' or '.join(sorted(endings))}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}")


def draw_images(model: GenerativeModel, count: int, seed: int) -> Tensor:
    """New images, (count, 1, 28, 28) in [0, 1]; of one seed, more images begin with the same."""
    return draw(model, count, lambda start: generator("sample", seed, start))


def write_images(images: Tensor, path: Path) -> None:
    """Write (n, 1, 28, 28) images in [0, 1] as .npy, uint8 (n, 28, 28), or as a .png grid."""
    pixels = as_bytes(images).numpy()
    with _writing(path):
        if path.suffix == ".npy":
            np.save(path, pixels)
        else:
            grid = figures.tile(pixels, ceil(len(pixels) ** 0.5))
            Image.fromarray(grid.repeat(ZOOM, 0).repeat(ZOOM, 1)).save(path)


def write_pairs(
    model: GenerativeModel, data_name: str, data_root: str | Path | None, count: int, path: Path
) -> None:
    """Write `count` test images of a data set above their reconstructions."""
    if not isinstance(model, Encoder):
        name = type(model).__name__
        raise UserError(f"a {name} has no encoder, so it cannot reconstruct: name a VAE's run")
    datamodule = MNISTDataModule(name=data_name, root=data_root)
    datamodule.prepare_data()
    datamodule.setup()
    images, labels = (part[:count] for part in datamodule.splits["test"])
    made = as_bytes(reconstruct(model, images.float() / 255, labels)).numpy()
    pairs = figures.tile_pairs(images.squeeze(1).numpy(), made, min(len(images), 20))
    figure = figures.picture(pairs, title="test images above, their reconstructions below")
    with _writing(path):
        figures.save(figure, path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written ({error.strerror})") from error
