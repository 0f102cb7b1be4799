"""Matplotlib figures from images and curves; nothing is computed here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

DPI = 300
HEADING = 0.25  # inches
MARGIN = 0.45  # inches
INCHES_A_PIXEL = 4 / DPI
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe & Ito: told apart by all
# Ten that are told apart by most: Tol's "muted", his pale grey darkened.
LABEL_COLORS = ["#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee"]
LABEL_COLORS += ["#882255", "#44aa99", "#999933", "#aa4499", "#555555"]


def image_grid(
    images: Tensor, *, columns: int, title: str, row_labels: Sequence[str] = ()
) -> Figure:
    """Images (n, 1, h, w) in [0, 1], row by row, with short labels left of the rows, if any."""
    tiles = make_grid(images, nrow=columns, padding=1, pad_value=0.5)[0]  # (height, width)
    margin = MARGIN if row_labels else 0
    inches = INCHES_A_PIXEL * tiles.shape[1] + margin, INCHES_A_PIXEL * tiles.shape[0] + HEADING
    figure = Figure(figsize=inches)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1 - HEADING / inches[1]))
    axes.imshow(tiles.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    height = images.shape[2] + 1
    for row, label in enumerate(row_labels):
        axes.text(-8, (row + 0.5) * height, label, fontsize=6, ha="right", va="center")
    figure.suptitle(title, fontsize=7, y=1 - 0.5 * HEADING / inches[1], va="center")
    return figure


def pairs(above: Tensor, below: Tensor, *, columns: int, title: str) -> Figure:
    """Images (n, 1, h, w) in [0, 1] above others of the same number, `columns` pairs a row."""
    rows = zip(above.split(columns), below.split(columns), strict=True)
    halves = [half for row in rows for half in row]
    filled = [F.pad(half, (0,) * 7 + (columns - len(half),), value=0.5) for half in halves]
    return image_grid(torch.cat(filled), columns=columns, title=title)


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
    figure = Figure(figsize=(3.2 * len(panels), 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
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


def scatter(points: Tensor, labels: Tensor, *, axis_labels: tuple[str, str], title: str) -> Figure:
    """Points (n, 2), each drawn as its label, (n,) in 0..9, in the label's color."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    for label in sorted(set(labels.tolist())):
        x, y = points[labels == label].T.numpy()
        axes.scatter(x, y, color=LABEL_COLORS[label], marker=f"${label}$", s=14, lw=0)
    axes.set_xlabel(axis_labels[0], fontsize=8)
    axes.set_ylabel(axis_labels[1], fontsize=8)
    axes.set_aspect("equal", "datalim")
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 300 dots an inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
