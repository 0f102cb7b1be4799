"""Pictures as arrays of the size that is asked for, and many of them as images in a file."""

import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.progress import Progress

from gen_models.data.dataset import listed
from gen_models.data.limits import check_sides
from gen_models.errors import UserError
from gen_models.machine import count_cores

CHUNK = 16  # pictures that a thread reads before it takes the next ones
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

Pixels = NDArray[np.uint8]  # (h, w) of a grey picture, (h, w, 3) of one in colour


class Stack(NamedTuple):
    """The images in a file."""

    shape: list[int]  # (n, c, h, w); [] without images
    digests: dict[str, bytes | None]  # of each picture's pixels; None: it cannot be read


def stack_pictures(
    file: IO[bytes],
    place: str,
    root: Path,
    names: Sequence[str],
    *,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Stack:
    """Write pictures to a file.

    Args:
        file: Empty, opened for reading and writing.
        place: The data set, with the option that names it: `data.root=PICTURES`.
        root: The folder that the names are relative to.
        names: Of the pictures, in the order of the images.
        size: Height and width; None: as they are.
        channels: 1 or 3; None: 1 if every picture is grey.

    Raises:
        UserError: The pictures are of several sizes, or of one that the models cannot make.
    """
    digests: dict[str, bytes | None] = dict.fromkeys(names)
    first, shape = "", list[int]()
    with (
        Progress(disable=not sys.stdout.isatty()) as progress,
        ThreadPool(count_cores()) as pool,
    ):
        read = pool.imap(partial(_read, root, size), names, chunksize=CHUNK)
        tracked = progress.track(read, len(names), description="reading")
        for name, pixels in zip(names, tracked, strict=True):
            if pixels is None:
                continue
            height, width = pixels.shape[:2]
            if not shape:
                check_sides(place, height, width)
                first, shape = name, [0, channels or 1, height, width]
            if shape[2:] != [height, width]:
                raise UserError(
                    f"{place}: pictures of several sizes (height x width: {listed([first])} has "
                    f"{shape[2]}x{shape[3]}, {listed([name])} has {height}x{width}): choose one, "
                    "as data.size=32"
                )
            if channels is None and shape[1] == 1 and pixels.ndim == 3:
                _turn_to_colour(file, shape[0], height * width)
                shape[1] = 3
            file.write(with_channels(pixels, shape[1]).tobytes())
            digests[name] = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
            shape[0] += 1
    return Stack(shape, digests)


def _turn_to_colour(file: IO[bytes], count: int, plane: int) -> None:
    """Repeat the grey images that are already in the file in three channels, last one first."""
    for i in reversed(range(count)):
        file.seek(i * plane)
        grey = file.read(plane)
        file.seek(i * plane * 3)
        file.write(grey * 3)
    file.seek(count * plane * 3)


def _read(root: Path, size: tuple[int, int] | None, name: str) -> Pixels | None:
    """A picture, or None if it cannot be read: Pillow has no one error for a damaged file."""
    try:
        return read_picture(root / name, size)
    except MemoryError:
        raise
    except Exception:
        return None


def read_picture(path: Path, size: tuple[int, int] | None) -> Pixels:
    """Read a picture as a viewer shows it: turned by its EXIF, transparency on white.

    Args:
        path: Of the file; what it is decides its content, not its ending.
        size: Height and width, as for `fitted`.

    Raises:
        Exception: It cannot be read. Pillow has many kinds for damaged files.
    """
    with Image.open(path, formats=FORMATS) as opened:
        if size:  # a JPEG is decoded at a half, a quarter or an eighth where that is enough
            opened.draft(None, (4 * max(size), 4 * max(size)))
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # grey in 16 bits
            image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return fitted(image.convert("L" if image.mode in ("1", "L") else "RGB"), size)


def fitted(image: Image.Image, size: tuple[int, int] | None) -> Pixels:
    """The pixels of a picture: its shorter side resized with antialiasing, its centre cut out.

    Args:
        image: Of mode L or RGB.
        size: Height and width; None leaves it as it is.
    """
    if size and image.size != size[::-1]:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    grey = pixels.ndim == 3 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0] if grey else pixels


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """The same picture as (c, h, w): grey from its luminance, colour from three equal channels."""
    if channels == 3:
        return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else np.stack([pixels] * 3)
    grey = np.asarray(Image.fromarray(pixels).convert("L")) if pixels.ndim == 3 else pixels
    return grey[None]
