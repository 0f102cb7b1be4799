"""Pictures and matplotlib figures from arrays; nothing is computed here.

Images are uint8, (n, h, w) in grey or (n, h, w, 3) in colour, and a grid of them is one image more.
Without torch. Matplotlib takes a second to import, so only the functions that draw import it.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen_models.errors import first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

log = logging.getLogger(__name__)

DPI = 300
HEADING = 0.25  # inches
MARGIN = 0.45  # inches
GAP = 32  # screen pixels between a row and its label
SIDE = 28  # pixels, of MNIST: images of other sides are enlarged to about the same size
PANELS = 5  # curves in a row
TOGETHER = {"d_real": "D(real) and D(fake)", "d_fake": "D(real) and D(fake)"}  # share a panel
FIRST = ("fid_lenet", "coverage", "missing_digits", "missing_classes", "D(real) and D(fake)")
WORDS = {  # the titles of panels, where the key says too little
    "fid_lenet": "fid_lenet: distance of new images to real ones (lower is better)",
    "coverage": "coverage (higher is better)",
    "missing_digits": "missing digits (0 is best)",
    "missing_classes": "missing classes (0 is best)",
}
LEGEND = 24  # letters of a class's name in a legend
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


def as_bytes(images: "Tensor") -> "Tensor":
    """Images (n, c, h, w) in [0, 1] as uint8: (n, h, w) in grey, (n, h, w, 3) in colour."""
    return images.movedim(1, -1).squeeze(-1).mul(255).round().byte()


def columns_for(images: np.ndarray, squares: int) -> int:
    """Images in a row of a grid: `squares` of square ones, more of narrow, fewer of wide ones."""
    height, width = images.shape[1:3]
    return min(len(images), max(1, round(squares * sqrt(height / width))))


def zoom_for(images: np.ndarray, times: int) -> int:
    """Screen pixels a pixel: `times` for images of 28 x 28, more for smaller ones, at least 1."""
    height, width = images.shape[1:3]
    return max(1, round(times * SIDE / sqrt(height * width)))


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images in rows, with a grey line of one pixel between and around them.

    Args:
        images: (n, h, w) or (n, h, w, 3) uint8.
        columns: Images in a row; a last row that is not full is filled with grey.

    Returns:
        (rows * (h + 1) + 1, columns * (w + 1) + 1) uint8; in colour (..., 3).
    """
    n, height, width, *channels = images.shape
    rows = -(-n // columns)
    cells = np.full((rows * columns, height + 1, width + 1, *channels), GREY, dtype=np.uint8)
    cells[:n, 1:, 1:] = images
    in_rows = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    grid = in_rows.reshape(rows * (height + 1), columns * (width + 1), *channels)
    return np.pad(grid, [(0, 1), (0, 1), *[(0, 0)] * len(channels)], constant_values=GREY)


def tile_pairs(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Images above as many others, `columns` pairs in a row."""
    fill = [(0, 0), (0, -len(above) % columns), *[(0, 0)] * (above.ndim - 1)]
    pairs = np.pad(np.stack([above, below]), fill, constant_values=GREY)  # (2, n, h, w) or more
    rows = pairs.reshape(2, -1, columns, *above.shape[1:]).swapaxes(0, 1)
    return tile(rows.reshape(-1, *above.shape[1:]), columns)


@our_style()
def picture(
    images: np.ndarray,
    columns: int,
    *,
    title: str,
    below: np.ndarray | None = None,
    row_labels: Sequence[str] = (),
) -> "Figure":
    """A grid of images under a title.

    Args:
        images: (n, h, w) or (n, h, w, 3) uint8.
        columns: Images in a row.
        title: Above the grid.
        below: As many images, each of which is shown below its partner.
        row_labels: Short labels left of the rows, if any.
    """
    from matplotlib.figure import Figure

    pixels = tile(images, columns) if below is None else tile_pairs(images, below, columns)
    zoom = zoom_for(images, 4)
    margin = MARGIN if row_labels else 0
    height, width = (zoom * pixels.shape[axis] / DPI for axis in (0, 1))
    inches = width + margin, height + HEADING
    figure = Figure(figsize=inches)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1 - HEADING / inches[1]))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    for row, label in enumerate(row_labels):
        y = (row + 0.5) * pixels.shape[0] / len(row_labels)
        axes.text(-GAP / zoom, y, label, fontsize=6, ha="right", va="center")
    figure.suptitle(title, fontsize=7, y=1 - 0.5 * HEADING / inches[1], va="center")
    return figure


@our_style()
def curves(series: dict[str, tuple[list[int], list[float]]], *, title: str) -> "Figure":
    """Logged metrics against training batches.

    Args:
        series: Key as logged ("train/loss") -> (batches, values). Keys with the same last part
            share a panel, and so do D's answers; training is a line, validation a line with dots.
            The distance is first and large, then what else is known of the new images.
        title: Above the figure.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for key in series:
        name = key.partition("/")[2]
        panels.setdefault(TOGETHER.get(name, name), []).append(key)
    names = sorted(panels, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    large = bool(names) and names[0] == FIRST[0]  # the first takes the place of four
    cells = [(row, column) for row in range(len(names) + 1) for column in range(PANELS)]
    places = [cell for cell in cells if not (large and max(cell) < 2)]
    chosen = places[: len(names) - large]
    rows = max([row + 1 for row, _ in chosen] + [2 * large])
    columns = max([column + 1 for _, column in chosen] + [2 * large])
    figure = Figure(figsize=(2.8 * columns, 2.4 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    figure.suptitle(title, fontsize=9)
    spots = [grid[:2, :2]] * large + [grid[cell] for cell in chosen]
    for name, spot in zip(names, spots, strict=True):
        axis = figure.add_subplot(spot)
        for key in sorted(panels[name]):
            batches, values = series[key]
            stage, _, short = key.partition("/")
            color = COLORS[(stage != "train") + 2 * (short == "d_fake")]
            style: dict[str, Any] = {"label": key if name != short else stage, "color": color}
            if stage == "train":
                axis.plot(batches, values, lw=0.7, alpha=0.8, **style)
            else:
                axis.plot(batches, values, lw=1.2, marker=".", ms=3, **style)
        big = large and name == names[0]
        axis.set_title(WORDS.get(name, name), fontsize=10 if big else 8)
        axis.set_xlabel("training batches", fontsize=7)
        if name in FIRST:
            axis.set_xlim(left=0)
            axis.set_ylim(bottom=0)
        if name.startswith("missing"):
            axis.set_ylim(-0.2, max(1, *series[panels[name][0]][1]) + 0.2)
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=6)
    return figure


@our_style()
def scatter(
    points: np.ndarray,
    labels: np.ndarray | None,
    *,
    axis_labels: tuple[str, str],
    title: str,
    class_names: Sequence[str] = (),
) -> "Figure":
    """Points in the colors of their classes: ten that differ, or a color map of more.

    Args:
        points: (n, 2).
        labels: (n,), the classes from 0; None: all points have one color.
        axis_labels: Of x and y.
        title: Above the figure.
        class_names: If all have one or two letters, a point is drawn as its class's name; longer
            names are in a legend. Without names, they are the numbers.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    x, y = points.T
    if labels is None:
        axes.scatter(x, y, color=COLORS[0], s=6, lw=0)
    elif labels.max() >= len(LABEL_COLORS):
        dots = axes.scatter(x, y, c=labels, cmap="turbo", s=6, lw=0)
        bar = figure.colorbar(dots, label="number of the class")
        bar.ax.tick_params(labelsize=7)
    else:
        present = np.unique(labels).tolist()
        names = [class_names[label][:LEGEND] if class_names else str(label) for label in present]
        short = all(len(name) <= 2 and name.isascii() and name.isalnum() for name in names)
        handles = []
        for label, name in zip(present, names, strict=True):
            marker, color = f"${name}$" if short else "o", LABEL_COLORS[label]
            own = labels == label
            handles.append(axes.scatter(x[own], y[own], color=color, marker=marker, s=14, lw=0))
        if not short:
            texts = [name.replace("$", r"\$") for name in names]  # two of them would be a formula
            figure.legend(handles, texts, loc="outside right upper", fontsize=6)
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
