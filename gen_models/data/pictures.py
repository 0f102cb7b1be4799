"""One picture as an array, of the size that is asked for."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

Pixels = NDArray[np.uint8]  # (h, w) of a grey picture, (h, w, 3) of one in colour


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
