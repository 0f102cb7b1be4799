"""The pictures of an evaluation: figures/*.png, and TensorBoard's projector."""

import shutil
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gen_models import figures
from gen_models.models.interface import Encoder, latent_means
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import run_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPPED = 2000  # images on the map; more would hide one another
PROJECTED = 2000  # images in TensorBoard's projector


def write_figures(directory: RunDirectory, arrays: dict[str, np.ndarray]) -> None:
    """Draw `recreated`, `interpolation`, `traversal` and, with an encoder, `latent_map`.

    Args:
        directory: The run.
        arrays: The evaluation's, as evaluation.npz keeps them.
    """
    title = run_title(directory.read_config())
    pictures = {"recreated": _recreated, "interpolation": _interpolation, "traversal": _traversal}
    if "latent_map" in arrays:
        pictures["latent_map"] = _latent_map
    for name, make in pictures.items():
        with figures.drawing(directory.figures / f"{name}.png") as path:
            figures.save(make(arrays, title), path)


def _recreated(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    way = "its encoder's means" if "encoder_mse" in arrays else "latent inversion"
    return figures.picture(
        figures.tile_pairs(arrays["pictures_test"], arrays["pictures_recreated"], 20),
        title=f"{title}: test images above, what the model makes of them by {way} below",
    )


def _interpolation(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    test = arrays["pictures_test"]
    paths = arrays["pictures_interpolation"]  # (pairs, steps, 28, 28)
    ends = test[: 2 * len(paths)].reshape(len(paths), 2, *test.shape[1:])
    rows = np.concatenate([ends[:, :1], paths, ends[:, 1:]], 1)
    return figures.picture(
        figures.tile(rows.reshape(-1, *test.shape[1:]), rows.shape[1]),
        title=f"{title}: from a test image (left) to another (right) through the latent space",
    )


def _traversal(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    walks = arrays["pictures_traversal"]  # (units, steps, 28, 28)
    low, high = arrays["traversal_values"][[0, -1]].tolist()
    return figures.picture(
        figures.tile(walks.reshape(-1, *walks.shape[2:]), walks.shape[1]),
        title=f"{title}: the most active units of one z, each from {low:g} to {high:g}",
        row_labels=[f"unit {unit}" for unit in arrays["traversal_units"]],
    )


def _latent_map(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    points = arrays["latent_map"][:MAPPED]
    first, second = (
        f"{name} principal component, {100 * share:.0f} % of variance"
        for name, share in zip(("first", "second"), arrays["latent_map_shares"], strict=True)
    )
    return figures.scatter(
        points,
        arrays["test_labels"][:MAPPED],
        axis_labels=(first, second),
        title=f"{title}: the encoder's means of {len(points):,} test images",
    )


def write_projector(
    directory: RunDirectory, model: Encoder, images: Tensor, labels: Tensor
) -> None:
    """The encoder's means for TensorBoard's projector, with labels and the images as sprites.

    In a folder of its own next to the run's curves, replaced as a whole.

    Args:
        directory: The run.
        model: A model with an encoder.
        images: (n, 1, 28, 28) in [0, 1]; the first 2,000 are shown.
        labels: (n,).
    """
    folder = directory.path / "projector"
    shutil.rmtree(folder, ignore_errors=True)
    shown = images[:PROJECTED]
    with figures.drawing(folder), SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            latent_means(model, shown, labels[:PROJECTED]),
            metadata=labels[:PROJECTED].tolist(),
            label_img=1 - shown,  # dark on light, as the projector's page
            tag="means",
        )
