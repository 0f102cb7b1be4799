"""Images out of a trained model, into files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from gen_models import figures
from gen_models.callbacks import reconstruct
from gen_models.data import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.pixels import as_bytes
from gen_models.seeding import generator

CHUNK = 1000  # images decoded at once
ZOOM = 3  # screen pixels a pixel


def check_output(path: Path, endings: set[str]) -> None:
    """Refuse a file that cannot be written, before anything is computed."""
    if path.suffix not in endings:
        raise UserError(f"--output {path}: must end in {' or '.join(sorted(endings))}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}")


@torch.no_grad()
def draw(model: Any, count: int, seed: int) -> Tensor:
    """New images, (count, 1, 28, 28) in [0, 1]; a longer draw begins with a shorter one's images.

    Chunks have generators of their own, so that memory stays bounded.
    """
    chunks = []
    for start in range(0, count, CHUNK):
        noise = generator("sample", seed, start)
        chunks.append(model.sample(CHUNK, noise)[: count - start])
    return torch.cat(chunks)


def write_images(images: Tensor, path: Path) -> None:
    """Write (n, 1, 28, 28) images in [0, 1] as .npy, uint8 (n, 28, 28), or as a .png grid."""
    with _writing(path):
        if path.suffix == ".npy":
            np.save(path, as_bytes(images).numpy())
        else:
            grid = make_grid(images, nrow=ceil(len(images) ** 0.5), pad_value=0.5)
            save_image(grid.repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2), path)


def write_pairs(
    model: Any, data_name: str, data_root: str | Path | None, count: int, path: Path
) -> None:
    """Write `count` test images of a data set above their reconstructions."""
    if not hasattr(model, "encode"):
        name = type(model).__name__
        raise UserError(f"a {name} has no encoder, so it cannot reconstruct: name a VAE's run")
    datamodule = MNISTDataModule(name=data_name, root=data_root)
    datamodule.prepare_data()
    datamodule.setup()
    images = datamodule.splits["test"].images[:count].float() / 255
    title = "test images above, their reconstructions below"
    columns = min(len(images), 20)
    figure = figures.pairs(images, reconstruct(model, images), columns=columns, title=title)
    with _writing(path):
        figures.save(figure, path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written ({error.strerror})") from error
