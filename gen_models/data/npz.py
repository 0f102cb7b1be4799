"""An .npz file of images, and labels if it has them."""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gen_models.data.cache import memory_limit
from gen_models.data.dataset import Dataset, listed
from gen_models.data.limits import (
    check_channels,
    check_classes,
    check_counts,
    check_sides,
    check_size,
    small_classes,
)
from gen_models.data.pictures import Pixels, fitted, with_channels
from gen_models.data.splits import by_hash, divided
from gen_models.errors import UserError
from gen_models.terminal import Say
from gen_models.terminal import say as on_terminal


def read_npz(
    root: Path,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    say: Say = on_terminal,
) -> Dataset:
    """Read an .npz file: `images`, and `labels` if there are any.

    Args:
        root: The file. Its `images` are uint8, (n, h, w) or (n, h, w, c) with 1 or 3 channels; its
            `labels`, (n,), are any integers, and each value is a class.
        size: Height and width, or one number for both: the shorter side of each image is resized
            and its centre cut out. None: as they are.
        channels: 1 for grey, 3 for colour; None: as they are.
        say: Called with a line for what the user should know.

    Raises:
        UserError: The file cannot be read, or its arrays are not of this kind.
    """
    sides, channels = check_size(size), check_channels(channels)
    place = f"data.root={root}"
    if not root.is_file():
        what = "a folder (data=folder reads pictures)" if root.is_dir() else "there is no such file"
        raise UserError(f"{place}: {what}: choose an .npz file")
    arrays = _load(place, root)
    images = _checked_images(place, arrays["images"])
    order, counts = by_hash([str(i).encode() for i in range(len(images))])
    check_counts(place, counts)
    names, labels = tuple[str, ...](), None
    if "labels" in arrays:
        values, numbers = _checked_labels(place, arrays["labels"], len(images))
        for line in small_classes(Counter(str(values[i]) for i in numbers)):
            say(f"{place}: {line}")
        if len(values) > 1:
            names, labels = tuple(map(str, values)), torch.from_numpy(numbers)[order]
        else:
            say(f"{place}: all labels are {values[0]}, so they are not used")
    shape = (channels or (3 if images.ndim == 4 else 1), *(sides or images.shape[1:3]))
    check_sides(place, *shape[1:])
    planes = (images[..., None] if images.ndim == 3 else images).transpose(0, 3, 1, 2)
    prepared = np.empty((len(images), *shape), dtype=np.uint8)
    for row, i in enumerate(order):
        prepared[row] = (
            planes[i]
            if shape == planes.shape[1:]
            else with_channels(fitted(Image.fromarray(images[i]), sides), shape[0])
        )
    digest = hashlib.blake2b(f"{prepared.shape} {names}".encode(), digest_size=16)
    digest.update(prepared.data)
    digest.update(b"" if labels is None else labels.numpy().data)
    splits = divided(torch.from_numpy(prepared), labels, counts)
    return Dataset(splits, names, digest.hexdigest())


def _load(place: str, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file; nothing in it is unpickled."""
    remedy = "save it with np.savez(FILE, images=images, labels=labels)"
    if not zipfile.is_zipfile(path):
        raise UserError(f"{place}: not an .npz file, or damaged: {remedy}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "images" not in archive.files:
                names = listed(archive.files) or "nothing"
                raise UserError(f"{place}: holds {names}, but no array `images`: {remedy}")
            taken = archive.zip.getinfo("images.npy").file_size
            if 2 * taken > 4 * memory_limit():
                raise UserError(
                    f"{place}: its images take {taken / 1e9:.1f} GB, more than half of this "
                    "machine's memory: save them as pictures (data=folder reads more than fits)"
                )
            return {name: archive[name] for name in ("images", "labels") if name in archive.files}
    except (UserError, MemoryError):
        raise
    except Exception as error:  # NumPy has no one error for a damaged file, or one of objects
        raise UserError(
            f"{place}: cannot be read ({' '.join(str(error).split())}): {remedy}"
        ) from error


def _checked_images(place: str, images: NDArray[Any]) -> Pixels:
    """The images, (n, h, w) or (n, h, w, 3)."""
    channels = images.shape[3] if images.ndim == 4 else 1
    fits = images.ndim in (3, 4) and channels in (1, 3) and 0 not in images.shape
    if not fits or images.dtype != np.uint8:
        raise UserError(
            f"{place}: its images are {images.dtype}, {_shape(images)}: save them as uint8 from 0 "
            "to 255, (n, h, w), (n, h, w, 1) or (n, h, w, 3)"
        )
    return images[..., 0] if channels == 1 and images.ndim == 4 else images


def _checked_labels(
    place: str, labels: NDArray[Any], count: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values of the labels, sorted, and the number of its value for each image."""
    if labels.shape != (count,):
        raise UserError(
            f"{place}: its labels are {_shape(labels)} for {count:,} images: save one for each"
        )
    if not any(np.issubdtype(labels.dtype, kind) for kind in (np.integer, np.str_)):
        raise UserError(
            f"{place}: its labels are {labels.dtype}, expected integers or text: save "
            "labels.astype(np.int64)"
        )
    values, numbers = np.unique(labels, return_inverse=True)
    check_classes(place, len(values))
    return values, numbers.astype(np.int64)


def _shape(array: NDArray[Any]) -> str:
    return f"({', '.join(map(str, array.shape))})"
