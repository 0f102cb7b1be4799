"""Pictures as arrays of the size that is asked for, and many of them as images in a file."""

import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.progress import Progress

from gen_models.data.dataset import listed
from gen_models.errors import UserError
from gen_models.machine import count_cores

CHUNK = 16  # pictures that a thread reads before it takes the next ones
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SIDES = range(8, 65, 4)  # heights and widths that the models can make

Pixels = NDArray[np.uint8]  # (h, w) of a grey picture, (h, w, 3) of one in colour
Size = tuple[int, int] | None  # height and width; None: as the pictures are


def check_size(size: Any) -> Size:
    """The height and width that `data.size` asks for: one number for both, two, or None.

    Raises:
        UserError: It is no size that the models can make.
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if [type(side) for side in sides] != [int, int]:
        raise UserError(
            f"data.size={size}: expected a whole number, or [height, width], from 8 to 64"
        )
    check_sides(f"data.size={size}".replace(" ", ""), *sides)
    return sides[0], sides[1]


def check_sides(place: str, height: int, width: int) -> None:
    """Refuse a height or width that is no multiple of 4 from 8 to 64, with the nearest two.

    Raises:
        UserError: The models cannot make images of this size.
    """
    wrong = [side for side in dict.fromkeys((height, width)) if side not in SIDES]
    if wrong:
        nearest = " and ".join(
            "{} or {} instead of {}".format(*sorted(SIDES, key=lambda s: abs(s - side))[:2], side)
            for side in wrong
        )
        raise UserError(
            f"{place}: {height}x{width}, but height and width must be multiples of 4 from 8 to "
            f"64: choose a data.size with {nearest}"
        )


def check_channels(channels: Any) -> int | None:
    """The value of `data.channels`.

    Raises:
        UserError: It is none of null, 1 and 3.
    """
    if channels not in (None, 1, 3) or isinstance(channels, bool):
        raise UserError(f"data.channels={channels}: choose 1 (grey), 3 (colour) or null (as it is)")
    return channels


def stack_pictures(
    file: IO[bytes],
    place: str,
    root: Path,
    names: Sequence[str],
    *,
    size: Size,
    channels: int | None,
) -> tuple[list[int], dict[str, str | None]]:
    """Write the pictures with these names, below `root`, to a file, in this order.

    Returns:
        The images' shape, (n, c, h, w), or [] without images; and for each name a digest of the
        picture's pixels, or None if it cannot be read.

    Raises:
        UserError: The pictures are of several sizes, or of one that the models cannot make.
    """
    digests: dict[str, str | None] = dict.fromkeys(names)
    first, shape = "", list[int]()
    file.seek(0)
    with (
        Progress(disable=not sys.stdout.isatty(), transient=True) as progress,
        ThreadPool(count_cores()) as pool,
    ):
        pictures = pool.imap(partial(_read, root, size), names, chunksize=CHUNK)
        tracked = progress.track(pictures, len(names), description="reading")
        for name, pixels in zip(names, tracked, strict=True):
            if pixels is None:
                continue
            height, width = pixels.shape[:2]
            if not shape:
                check_sides(place, height, width)
                channels = channels or (3 if pixels.ndim == 3 else None)
                first, shape = name, [0, channels or 1, height, width]
            if shape[2:] != [height, width]:
                raise UserError(
                    f"{place}: pictures of several sizes (height x width: {listed([first])} has "
                    f"{shape[2]}x{shape[3]}, {listed([name])} has {height}x{width}): choose one, "
                    "as data.size=32"
                )
            if channels is None and pixels.ndim == 3:  # the first one in colour
                break
            file.write(with_channels(pixels, shape[1]).tobytes())
            digests[name] = hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()
            shape[0] += 1
        else:
            return shape, digests
    # All are read again, in three channels.
    return stack_pictures(file, place, root, names, size=size, channels=3)


def _read(root: Path, size: Size, name: str) -> Pixels | None:
    """A picture as a viewer shows it: turned by its EXIF, transparency on white.

    What it is decides its content, not its ending. None if it cannot be read: Pillow has no one
    error for a damaged file.
    """
    try:
        with Image.open(root / name, formats=FORMATS) as opened:
            if size:  # a JPEG is decoded at a half, a quarter or an eighth where that is enough
                opened.draft(None, (4 * max(size), 4 * max(size)))
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # grey in 16 bits
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return fitted(image.convert("L" if image.mode in ("1", "L") else "RGB"), size)
    except MemoryError:
        raise
    except Exception:
        return None


def fitted(image: Image.Image, size: Size) -> Pixels:
    """The pixels of a picture, of mode L or RGB: its shorter side resized, its centre cut out."""
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
