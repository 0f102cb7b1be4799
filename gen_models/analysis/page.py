"""The page of a report: templates, pictures inside of it, and its files."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

from gen_models import figures
from gen_models.files import writing

COLUMNS = 10  # of square images
LEVELS = 16  # of grey: half the size, and no difference to the eye
COLORS = 256
OTHER_OUTPUT = "choose another --output"  # where a folder cannot be written


class Picture(NamedTuple):
    """A grid of images as a PNG."""

    png: bytes
    width: int  # pixels of the screen
    height: int
    alt: str

    @property
    def uri(self) -> str:
        """The PNG inside a page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def picture(images: np.ndarray | None, alt: str) -> Picture | None:
    """Set images, (n, h, w) or (n, h, w, 3) uint8, in a grid; None if there are none."""
    if images is None:
        return None
    whole = figures.tile(images, figures.columns_for(images, COLUMNS))
    height, width = whole.shape[:2]
    file = io.BytesIO()
    grid = Image.fromarray(whole).quantize(LEVELS if whole.ndim == 2 else COLORS)
    grid.save(file, format="PNG", optimize=True)
    zoom = figures.zoom_for(images, 1)
    return Picture(file.getvalue(), zoom * width, zoom * height, alt)


def render(package: str, name: str, content: dict[str, Any]) -> dict[str, str | bytes]:
    """A page as NAME.html and as NAME.md, from the templates of a package and of this room."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("gen_models.analysis")]),
        autoescape=lambda template: bool(template) and ".html" in str(template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    files = [f"{name}.html", f"{name}.md"]
    return {file: environment.get_template(f"{file}.j2").render(content) for file in files}


def write_files(folder: Path, files: dict[str, str | bytes]) -> list[Path]:
    """Write files into a folder, made if need be; returns their paths.

    Raises:
        UserError: It cannot be written.
    """
    with writing(folder, OTHER_OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
    return [folder / name for name in files]
