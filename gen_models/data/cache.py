"""Images that were read once, in the user's cache: a later start maps or reads one file.

A data set has two files there: `<place>-<signature>.bin` holds the images, and the `.json` next to
it describes them. Another signature, of changed pictures, replaces both.
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

Description = dict[str, Any]  # JSON, with the images' "shape" and their "labels"
Read = Callable[[IO[bytes]], Description]  # writes the images to a file


def memory_limit() -> int:
    """Bytes of images above which they are mapped: a quarter of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # another system than Linux, or "max"
        memory = min(memory, int(CGROUP_LIMIT.read_text(encoding="utf-8")))
    return memory // 4


def kept_or_read(what: tuple[str, ...], signature: str, read: Read) -> tuple[Description, Tensor]:
    """The images that are kept, or those that `read` writes, which are then kept if possible.

    Args:
        what: Identifies the data set: its folder and options.
        signature: Of what is read.
        read: Writes the images to a file.

    Returns:
        Their description, and the images: in memory, or mapped if they are too many for it.

    Raises:
        UserError: The disk is full.
    """
    cache = cache_folder()
    folder = cache / "images" if cache else None
    if folder is None or not can_be_written(folder):
        with (
            writing("the temporary file of the images", "set XDG_CACHE_HOME to a folder for it"),
            tempfile.TemporaryFile() as file,
        ):
            return _complete(file, read)
    name = hashlib.blake2b(repr(what).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    path = folder / f"{name}-{signature}.bin"
    if kept := _load(path):
        return kept
    with (
        writing(folder, "free some space, or set XDG_CACHE_HOME to another folder"),
        locked(folder / f"{name}.lock", patience=math.inf),  # one process reads, others wait
    ):
        if kept := _load(path):
            return kept
        for old in folder.glob(f"*{name}-*"):  # of a killed process too
            old.unlink()
        with replaced(path) as temporary, temporary.open("w+b") as file:
            kept = _complete(file, read)
        write_json(path.with_suffix(".json"), kept[0])
    return kept


def _load(path: Path) -> tuple[Description, Tensor] | None:
    """What is kept; None if it is not, or not whole."""
    with suppress(UserError, OSError, KeyError):
        description = read_json(path.with_suffix(".json"))
        if "labels" in description and path.stat().st_size == math.prod(description["shape"]):
            with path.open("rb") as file:
                return description, _images(file, description)
    return None


def _complete(file: IO[bytes], read: Read) -> tuple[Description, Tensor]:
    description = read(file)
    file.flush()
    return description, _images(file, description)


def _images(file: IO[bytes], description: Description) -> Tensor:
    images = torch.from_numpy(np.memmap(file, np.uint8, "c", shape=tuple(description["shape"])))
    return images if images.nbytes > memory_limit() else images.clone()
