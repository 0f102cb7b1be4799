"""Matplotlib figures from images and curves; nothing is computed here."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # no display needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

DPI = 300
CELL = 0.45  # inches an image
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe & Ito: told apart by all


def image_grid(images: Tensor, *, columns: int, title: str) -> Figure:
    """Images (n, 1, h, w) in [0, 1], row by row."""
    rows = -(-len(images) // columns)
    figure, axes = _cells(rows, columns, title)
    for axis, image in zip(axes, images, strict=False):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def pairs(above: Tensor, below: Tensor, *, columns: int, title: str) -> Figure:
    """Images (n, 1, h, w) in [0, 1] above others of the same number, `columns` pairs a row."""
    rows = -(-len(above) // columns)
    figure, axes = _cells(2 * rows, columns, title)
    for i, pair in enumerate(zip(above, below, strict=True)):
        row, column = divmod(i, columns)
        for half, image in enumerate(pair):
            axis = axes[(2 * row + half) * columns + column]
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def curves(series: dict[str, tuple[list[int], list[float]]], *, title: str) -> Figure:
    """Logged figures against training batches.

    Args:
        series: Key as logged ("train/loss") -> (batches, values). Keys with the same last part
            share a panel; training is a line, validation a line with dots.
        title: Above the figure.
    """
    panels: dict[str, list[str]] = {}
    for key in series:
        panels.setdefault(key.partition("/")[2], []).append(key)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.2 * len(panels), 2.6), squeeze=False, layout="constrained"
    )
    figure.suptitle(title, fontsize=9)
    for axis, (name, keys) in zip(axes[0], panels.items(), strict=True):
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


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 300 dots an inch, and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _cells(rows: int, columns: int, title: str) -> tuple[Figure, list[Axes]]:
    heading = 0.3  # inches
    height = rows * CELL + heading
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * CELL, height), squeeze=False,
        gridspec_kw={"wspace": 0.06, "hspace": 0.06},
    )  # fmt: skip
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=1 - heading / height)
    figure.suptitle(title, fontsize=7, y=1 - 0.25 * heading / height, va="top")
    flat = [axis for row in axes for axis in row]
    for axis in flat:
        axis.set_axis_off()
    return figure, flat
