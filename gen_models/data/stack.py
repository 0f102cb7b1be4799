"""Many pictures, one after the other, as images of one shape in a file."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO

from rich.progress import Progress

from gen_models.data.cache import WORTH_SAYING, memory_limit
from gen_models.data.dataset import listed
from gen_models.data.limits import check_sides
from gen_models.data.pictures import Pixels, read_picture, with_channels
from gen_models.errors import UserError
from gen_models.machine import count_cores

CHUNK = 16  # pictures that a thread reads before it takes the next ones

Say = Callable[[str], None]


class Stack:
    """Images of one shape that are written to a file.

    Args:
        file: Empty, opened for reading and writing.
        place: The data set, with the option that names it: `data.root=PICTURES`.
        expected: Most images that will be added.
        channels: 1 or 3; None: 1 until the first picture in colour is added.
        mappable: Whether the images may take more memory than there is.
        say: Called with a line about the memory, where it is much.
    """

    def __init__(
        self,
        file: IO[bytes],
        place: str,
        expected: int,
        channels: int | None,
        *,
        mappable: bool,
        say: Say,
    ) -> None:
        self.file = file
        self.place = place
        self.expected = expected
        self.given_channels = channels
        self.channels = channels or 1
        self.mappable = mappable
        self.say = say
        self.count = 0
        self.in_colour = 0
        self.sides: tuple[int, int] | None = None
        self.first = ""  # name of the first picture

    def add(self, name: str, pixels: Pixels) -> None:
        """Append a picture.

        Raises:
            UserError: It is of another size, of none that the models can make, or too much.
        """
        height, width = pixels.shape[:2]
        if self.sides is None:
            self.sides, self.first = (height, width), name
            self._check_first(height, width)
        elif self.sides != (height, width):
            first, other = listed([self.first]), listed([name])
            raise UserError(
                f"{self.place}: pictures of several sizes (height x width: {first} has "
                f"{self.sides[0]}x{self.sides[1]}, {other} has {height}x{width}): choose one, as "
                "data.size=32"
            )
        if pixels.ndim == 3:
            self.in_colour += 1
            if self.channels == 1 and self.given_channels is None:
                self._turn_to_colour()
        self.file.write(with_channels(pixels, self.channels).tobytes())
        self.count += 1

    def _check_first(self, height: int, width: int) -> None:
        check_sides(self.place, height, width)
        taken = self.expected * (self.given_channels or 3) * height * width
        if taken > memory_limit() and not self.mappable:
            raise UserError(
                f"{self.place}: its pictures take up to {taken / 1e9:.1f} GB, more than a quarter "
                "of this machine's memory, and the cache cannot be written: set XDG_CACHE_HOME to "
                "a folder that can hold them, or choose a smaller data.size"
            )
        if taken > WORTH_SAYING:
            where = "memory" if taken <= memory_limit() else "the cache, from where they are mapped"
            self.say(f"{self.place}: its pictures take up to {taken / 1e9:.1f} GB of {where}")

    def _turn_to_colour(self) -> None:
        """Repeat the grey images that are already in the file in three channels, last one first."""
        self.channels = 3
        assert self.sides is not None
        plane = self.sides[0] * self.sides[1]
        for i in reversed(range(self.count)):
            self.file.seek(i * plane)
            grey = self.file.read(plane)
            self.file.seek(i * plane * 3)
            self.file.write(grey * 3)
        self.file.seek(self.count * plane * 3)


def stack_pictures(
    stack: Stack, root: Path, names: Sequence[str], size: tuple[int, int] | None
) -> dict[str, bytes | None]:
    """Add pictures to a stack.

    Args:
        stack: Empty.
        root: The folder that the names are relative to.
        names: Of the files, in the order of the images.
        size: Height and width; None: as they are.

    Returns:
        A digest of the pixels for each name; None for a file that cannot be read.
    """
    digests: dict[str, bytes | None] = dict.fromkeys(names)
    with (
        Progress(disable=not sys.stdout.isatty()) as progress,
        ThreadPool(count_cores()) as pool,
    ):
        read = pool.imap(partial(_read, root, size), names, chunksize=CHUNK)
        tracked = progress.track(read, len(names), description="reading")
        for name, pixels in zip(names, tracked, strict=True):
            if pixels is not None:
                stack.add(name, pixels)
                digests[name] = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    return digests


def _read(root: Path, size: tuple[int, int] | None, name: str) -> Pixels | None:
    """A picture, or None if it cannot be read: Pillow has no one error for a damaged file."""
    try:
        return read_picture(root / name, size)
    except MemoryError:
        raise
    except Exception:
        return None
