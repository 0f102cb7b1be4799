"""The pictures of an evaluation: evaluation.npz, figures/*.png, and TensorBoard's projector."""

import shutil
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gen_models import figures
from gen_models.evaluation.reference import Reference
from gen_models.files import replaced, writing
from gen_models.models.interface import Density, Encoder, GenerativeModel, latent_means
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import run_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPPED = 2000  # images on the map; more would hide one another
PROJECTED = 2000  # images in TensorBoard's projector, which reads sprites of 8,192 pixels at most


def write_pictures(
    directory: RunDirectory, model: GenerativeModel, arrays: dict[str, Tensor], real: Reference
) -> None:
    """Write the arrays of an evaluation, its figures and, of a model with codes, the projector."""
    written = {name: array.cpu().numpy() for name, array in arrays.items()}
    file = directory.path / "evaluation.npz"
    with writing(file, "free some space"), replaced(file) as temporary:
        np.savez(temporary, **written)  # type: ignore[arg-type]
    write_figures(directory, written, real.class_names)
    if isinstance(model, Encoder) and not isinstance(model, Density):
        write_projector(directory, model, real)


def write_figures(
    directory: RunDirectory, arrays: dict[str, np.ndarray], class_names: Sequence[str]
) -> None:
    """Draw `recreated`, `interpolation`, `traversal` and, if it was measured, `latent_map`.

    Args:
        directory: The run.
        arrays: The evaluation's, as evaluation.npz keeps them.
        class_names: Of the data.
    """
    title = run_title(directory.read_config())
    pictures = {"recreated": _recreated, "interpolation": _interpolation, "traversal": _traversal}
    if "latent_map" in arrays:
        pictures["latent_map"] = partial(_latent_map, class_names=class_names)
    for name, make in pictures.items():
        with figures.drawing(directory.figures / f"{name}.png") as path:
            figures.save(make(arrays, title), path)


def _recreated(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    way = "its encoder's means" if "encoder_mse" in arrays else "latent inversion"
    test = arrays["pictures_test"]
    return figures.picture(
        test,
        figures.columns_for(test, 20),
        below=arrays["pictures_recreated"],
        title=f"{title}: test images above, what the model makes of them by {way} below",
    )


def _interpolation(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    test = arrays["pictures_test"]
    paths = arrays["pictures_interpolation"]  # (pairs, steps, ...)
    ends = test[: 2 * len(paths)].reshape(len(paths), 2, *test.shape[1:])
    rows = np.concatenate([ends[:, :1], paths, ends[:, 1:]], 1)
    return figures.picture(
        rows.reshape(-1, *test.shape[1:]),
        rows.shape[1],
        title=f"{title}: from a test image (left) to another (right) through the latent space",
    )


def _traversal(arrays: dict[str, np.ndarray], title: str) -> "Figure":
    walks = arrays["pictures_traversal"]  # (units, steps, ...)
    low, high = arrays["traversal_values"][[0, -1]].tolist()
    which = "the most active" if "inversion_mse" in arrays else "some"  # a `Density` has none
    return figures.picture(
        walks.reshape(-1, *walks.shape[2:]),
        walks.shape[1],
        title=f"{title}: {which} units of one z, each from {low:g} to {high:g}",
        row_labels=[f"unit {unit}" for unit in arrays["traversal_units"]],
    )


def _latent_map(arrays: dict[str, np.ndarray], title: str, class_names: Sequence[str]) -> "Figure":
    points = arrays["latent_map"][:MAPPED]
    first, second = (
        f"{name} principal component, {100 * share:.0f} % of variance"
        for name, share in zip(("first", "second"), arrays["latent_map_shares"], strict=True)
    )
    return figures.scatter(
        points,
        arrays["test_labels"][:MAPPED] if "test_labels" in arrays else None,
        axis_labels=(first, second),
        title=f"{title}: the encoder's means of {len(points):,} test images",
        class_names=class_names,
    )


def write_projector(directory: RunDirectory, model: Encoder, real: Reference) -> None:
    """The encoder's means of the first 2,000 test images, for TensorBoard.

    With the names of their classes, if there are any, and the images as sprites, in a folder of its
    own next to the run's curves, which is replaced as a whole.
    """
    folder = directory.path / "projector"
    shutil.rmtree(folder, ignore_errors=True)
    images, labels = real.first(PROJECTED)
    shown, own = images.cpu(), None if labels is None else labels.cpu()
    names = None if own is None else [real.class_names[label] for label in own.tolist()]
    height, width = shown.shape[2:]
    ink = shown.shape[1] == 1 and not shown.median()  # on black: it is shown dark on the white page
    square = F.pad(shown, (0, max(0, height - width), 0, max(0, width - height)))
    with figures.drawing(folder), SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            latent_means(model, shown, own),
            metadata=names,
            label_img=1 - square if ink else square,
            tag="means",
        )
