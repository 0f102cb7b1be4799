"""Images that were read once, in the user's cache: a later start maps or reads one file.

A data set has two files there: `<place>-<signature>.bin` holds the images and then the labels, and
the `.json` next to it describes them. Another signature, of changed pictures, replaces both.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from gen_models.errors import UserError
from gen_models.files import (
    cache_folder,
    can_be_written,
    locked,
    read_json,
    replaced,
    write_json,
    writing,
)

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
LABEL_BYTES = 8

Description = dict[str, Any]  # JSON, with the images' "shape" and whether they are "labelled"
Kept = tuple[Description, Tensor, Tensor | None]  # with the images and their labels
Read = Callable[[IO[bytes]], tuple[Description, Tensor | None]]  # writes images, returns labels


def memory_limit() -> int:
    """Bytes of images above which they are mapped: a quarter of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # another system than Linux, or "max"
        memory = min(memory, int(CGROUP_LIMIT.read_text(encoding="utf-8")))
    return memory // 4


def cache_place(*parts: object) -> Path | None:
    """Where images are kept, without the ending; None where nothing can be kept.

    Args:
        parts: What identifies a data set: its folder and options.
    """
    folder = cache_folder()
    if folder is None or not can_be_written(folder / "images"):
        return None
    name = hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return folder / "images" / name


def kept_or_read(place: Path | None, signature: str, read: Read) -> Kept:
    """The images that are kept, or those that `read` writes, which are then kept.

    Args:
        place: Of `cache_place`; None reads into a temporary file.
        signature: Of what is read.
        read: Writes the images to a file, and returns their description and labels.

    Raises:
        UserError: The disk is full.
    """
    if place is None:
        with (
            writing("the temporary file of the images", "set XDG_CACHE_HOME to a folder for it"),
            tempfile.TemporaryFile() as file,
        ):
            return _complete(file, read)
    path = place.with_name(f"{place.name}-{signature}.bin")
    if kept := _load(path):
        return kept
    with (
        writing(place.parent, "free some space, or set XDG_CACHE_HOME to another folder"),
        locked(place.with_suffix(".lock"), patience=math.inf),  # one process reads, others wait
    ):
        if kept := _load(path):
            return kept
        for old in place.parent.glob(f"*{place.name}-*"):  # of a killed process too
            old.unlink()
        with replaced(path) as temporary, temporary.open("w+b") as file:
            kept = _complete(file, read)
        write_json(path.with_suffix(".json"), kept[0])
    return kept


def _load(path: Path) -> Kept | None:
    """What is kept; None if it is not, or not whole."""
    with suppress(UserError, OSError, KeyError):
        description = read_json(path.with_suffix(".json"))
        count, *_ = shape = description["shape"]
        expected = math.prod(shape) + LABEL_BYTES * count * description["labelled"]
        if path.stat().st_size == expected:
            with path.open("rb") as file:
                return description, *_tensors(file, description)
    return None


def _complete(file: IO[bytes], read: Read) -> Kept:
    description, labels = read(file)
    if labels is not None:
        file.write(labels.numpy().tobytes())
    file.flush()
    return description, *_tensors(file, description)


def _tensors(file: IO[bytes], description: Description) -> tuple[Tensor, Tensor | None]:
    """Images and labels of a file: in memory, or mapped (to be read alone) if they are too many."""
    shape = tuple(description["shape"])
    images = torch.from_numpy(np.memmap(file, np.uint8, "c", shape=shape))
    labels = None
    if description["labelled"]:
        labels = torch.from_numpy(np.array(np.memmap(file, np.int64, "c", images.nbytes)))
    return images if images.nbytes > memory_limit() else images.clone(), labels
