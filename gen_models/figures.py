"""Pictures and matplotlib figures from arrays; nothing is computed here.

Without torch. Matplotlib takes a second to import, so only the functions that draw import it.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen_models.errors import first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

DPI = 300
HEADING = 0.25  # inches
MARGIN = 0.45  # inches
INCHES_A_PIXEL = 4 / DPI
PANELS = 4  # curves in a row
GREY = 128  # between the images of a grid
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe & Ito: safe for colour blindness
# Ten colours that most people can distinguish: Tol's "muted" with a darker grey.
LABEL_COLORS = ["#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee"]
LABEL_COLORS += ["#882255", "#44aa99", "#999933", "#aa4499", "#555555"]


@contextmanager
def our_style() -> Iterator[None]:
    """Matplotlib's default settings, whatever the user's matplotlibrc sets (LaTeX, fonts, ...)."""
    import matplotlib.style

    with matplotlib.style.context("default"):
        yield


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images in rows, with a grey line of one pixel between and around them.

    Args:
        images: (n, h, w) uint8.
        columns: Images in a row; a last row that is not full is filled with grey.

    Returns:
        (rows * (h + 1) + 1, columns * (w + 1) + 1) uint8.
    """
    n, height, width = images.shape
    rows = -(-n // columns)
    cells = np.full((rows * columns, height + 1, width + 1), GREY, dtype=np.uint8)
    cells[:n, 1:, 1:] = images
    in_rows = cells.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    grid = in_rows.reshape(rows * (height + 1), columns * (width + 1))
    return np.pad(grid, ((0, 1), (0, 1)), constant_values=GREY)


def tile_pairs(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, h, w) uint8 above as many others, `columns` pairs in a row."""
    fill = ((0, 0), (0, -len(above) % columns), (0, 0), (0, 0))
    pairs = np.pad(np.stack([above, below]), fill, constant_values=GREY)  # (2, n, h, w)
    rows = pairs.reshape(2, -1, columns, *above.shape[1:]).swapaxes(0, 1)
    return tile(rows.reshape(-1, *above.shape[1:]), columns)


@our_style()
def picture(pixels: np.ndarray, *, title: str, row_labels: Sequence[str] = ()) -> "Figure":
    """A grid of `tile`, (H, W) uint8, with short labels left of the rows of images, if any."""
    from matplotlib.figure import Figure

    margin = MARGIN if row_labels else 0
    inches = INCHES_A_PIXEL * pixels.shape[1] + margin, INCHES_A_PIXEL * pixels.shape[0] + HEADING
    figure = Figure(figsize=inches)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1 - HEADING / inches[1]))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    for row, label in enumerate(row_labels):
        y = (row + 0.5) * pixels.shape[0] / len(row_labels)
        axes.text(-8, y, label, fontsize=6, ha="right", va="center")
    figure.suptitle(title, fontsize=7, y=1 - 0.5 * HEADING / inches[1], va="center")
    return figure


@our_style()
def curves(series: dict[str, tuple[list[int], list[float]]], *, title: str) -> "Figure":
    """Logged metrics against training batches.

    Args:
        series: Key as logged ("train/loss") -> (batches, values). Keys with the same last part
            share a panel; training is a line, validation a line with dots.
        title: Above the figure.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for key in series:
        panels.setdefault(key.partition("/")[2], []).append(key)
    columns = min(len(panels), PANELS)
    rows = ceil(len(panels) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.suptitle(title, fontsize=9)
    for axis in axes[len(panels) :]:
        axis.remove()
    for axis, (name, keys) in zip(axes[: len(panels)], panels.items(), strict=True):
        for key in sorted(keys):
            batches, values = series[key]
            stage = key.partition("/")[0]
            style: dict[str, Any] = {"color": COLORS[0], "lw": 0.7, "alpha": 0.8}
            if stage != "train":
                style = {"color": COLORS[1], "lw": 1.2, "marker": ".", "ms": 3}
            axis.plot(batches, values, label=stage, **style)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("training batches", fontsize=7)
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=6)
    return figure


@our_style()
def scatter(
    points: np.ndarray, labels: np.ndarray, *, axis_labels: tuple[str, str], title: str
) -> "Figure":
    """Points (n, 2), each drawn as its label, (n,) in 0..9, in the label's color."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    for label in np.unique(labels).tolist():
        x, y = points[labels == label].T
        axes.scatter(x, y, color=LABEL_COLORS[label], marker=f"${label}$", s=14, lw=0)
    axes.set_xlabel(axis_labels[0], fontsize=8)
    axes.set_ylabel(axis_labels[1], fontsize=8)
    axes.set_aspect("equal", "datalim")
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG with 300 dots per inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with our_style():
        figure.savefig(path, dpi=DPI)


@contextmanager
def drawing(path: Path) -> Iterator[Path]:
    """Turn any error of drawing into a warning, so that no trained run fails because of it."""
    try:
        yield path
    except Exception as error:  # from matplotlib, Pillow, a font or the disk
        log.warning("%s: could not be drawn (%s)", path, first_line(error))
