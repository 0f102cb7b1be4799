"""An .npz file of images, and labels if it has them."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gen_models.data.cache import memory_limit
from gen_models.data.dataset import Dataset, by_hash, check_classes, listed, own_dataset
from gen_models.data.pictures import Size, check_sides, fitted, with_channels
from gen_models.errors import UserError
from gen_models.terminal import say


def read_npz(root: Path, size: Size = None, channels: int | None = None) -> Dataset:
    """Read an .npz file: `images`, and `labels` if there are any.

    Args:
        root: The file. Its `images` are uint8, (n, h, w) or (n, h, w, c) with 1 or 3 channels; its
            `labels`, (n,), are integers or text, and each value is a class.
        size: Height and width: the shorter side of each image is resized and its centre cut out.
            None: as they are.
        channels: 1 for grey, 3 for colour; None: as they are.

    Raises:
        UserError: The file cannot be read, or its arrays are not of this kind.
    """
    place = f"data.root={root}"
    if not root.is_file():
        what = "a folder (data=folder reads pictures)" if root.is_dir() else "there is no such file"
        raise UserError(f"{place}: {what}: choose an .npz file")
    arrays = _load(place, root)
    images = arrays["images"]
    grey = images.ndim == 3 or images.shape[3:] == (1,)
    if images.dtype != np.uint8 or 0 in images.shape or not (grey or images.shape[3:] == (3,)):
        raise UserError(
            f"{place}: its images are {images.dtype}, {_shape(images)}: save them as uint8 from 0 "
            "to 255, (n, h, w), (n, h, w, 1) or (n, h, w, 3)"
        )
    images = images.reshape(images.shape[:3]) if grey else images
    order, counts = by_hash([str(i).encode() for i in range(len(images))])
    names, labels = tuple[str, ...](), None
    if "labels" in arrays:
        values, numbers = _classes(place, arrays["labels"], len(images))
        if len(values) > 1:
            names, labels = tuple(map(str, values)), torch.from_numpy(numbers)[order]
        else:
            say(f"{place}: all labels are {values[0]}, so they are not used")
    shape = (channels or (1 if grey else 3), *(size or images.shape[1:3]))
    check_sides(place, *shape[1:])
    prepared = np.empty((len(images), *shape), dtype=np.uint8)
    for row, i in enumerate(order):
        prepared[row] = with_channels(fitted(Image.fromarray(images[i]), size), shape[0])
    digest = hashlib.blake2b(f"{prepared.shape} {names}".encode(), digest_size=16)
    digest.update(prepared.data)
    digest.update(b"" if labels is None else labels.numpy().data)
    stacked = torch.from_numpy(prepared)
    return own_dataset(
        place, stacked, labels, counts=counts, class_names=names, digest=digest.hexdigest()
    )


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


def _classes(
    place: str, labels: NDArray[Any], count: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values of the labels, sorted, and the number of its value for each image."""
    if labels.shape != (count,):
        raise UserError(
            f"{place}: its labels are {_shape(labels)} for {count:,} images: save one for each"
        )
    if labels.dtype.kind not in "iuU":
        raise UserError(
            f"{place}: its labels are {labels.dtype}, expected integers or text: save "
            "labels.astype(np.int64)"
        )
    values, numbers = np.unique(labels, return_inverse=True)
    check_classes(place, len(values))
    return values, numbers.astype(np.int64)


def _shape(array: NDArray[Any]) -> str:
    return f"({', '.join(map(str, array.shape))})"
