"""What the page holds: networks, directions, a map and test images, as JSON can hold it."""

import base64
import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.explorer.directions import principal_directions
from gen_models.explorer.graph import Weights, lower
from gen_models.metrics.classifier import Classifier
from gen_models.metrics.latent import latent_map
from gen_models.metrics.pixels import as_bytes
from gen_models.metrics.reconstruction import prior_reach
from gen_models.models.interface import (
    Encoder,
    GenerativeModel,
    draw,
    latent_means,
    reconstruct,
)
from gen_models.seeding import generator

SHOWN = 500  # test images that the page holds
COLUMNS = 25  # in the picture that holds them
COMPARED = 1000  # new images on which rounding the weights is measured
INK = 25  # of 255: a pixel above it belongs to what an image shows


class Run(NamedTuple):
    """A run that the page shows."""

    title: str
    path: Path
    model: GenerativeModel


def page_content(
    runs: Sequence[Run],
    data: MNISTDataModule,
    classifier: Classifier | None,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], float]:
    """What the page's script reads, and the largest change of a pixel by rounding the weights.

    Args:
        runs: One run or two.
        data: The data set of the runs, set up.
        classifier: The classifier of the data set, if there is one.
        say: Called with a line before each run.
    """
    test = data.splits["test"]
    order = torch.randperm(len(test.images), generator=generator("test order"))
    pixels, labels = test.take(order)
    images = pixels.float() / 255
    shown = images[:SHOWN]
    weights = Weights()
    networks: list[dict[str, Any]] = []
    models, differences = [], []
    for run in runs:
        say(f"adding {run.title} to the page ({run.path})")
        if run.model.prior_kind == "mixture":
            raise UserError(
                f"{run.path}: the page can draw only from N(0, I) and U(-1, 1), and this model's "
                "prior is neither: leave this run out"
            )
        directions = principal_directions(run.model, images, labels)
        differences.append(
            rounding_difference(run.model, shown, None if labels is None else labels[:SHOWN])
        )
        models.append(
            {"title": run.title, "latent": run.model.latent_dim}
            | {"prior": run.model.prior_kind}
            | {"classes": run.model.latent_dim - run.model.noise_dim}
            | {"reach": prior_reach(run.model)._asdict()}
            | {"steps": _rounded(directions.steps), "shares": _rounded(directions.shares)}
            | _networks(run.model, weights, networks)
        )
    content: dict[str, Any] = {"models": models, "classifier": None}
    if classifier is not None:
        content["classifier"] = len(networks)
        network = classifier.network
        networks.append(lower(network, network, (torch.zeros(1, *shown.shape[1:]),), weights))
    content |= _map(runs, classifier, images, labels)
    content |= {"labels": labels[:SHOWN].tolist(), "columns": COLUMNS, "networks": networks}
    content |= {"box": image_box(data.splits["train"].images)}
    content |= {"sprite": _sprite(shown), "weights": _base64(weights.to_bytes())}
    return content, max(differences)


def image_box(images: Tensor) -> int:
    """Side in pixels of the square that what an image shows usually fills: the median.

    MNIST scales its digits to 20 of 28 pixels; other data sets fill the image.

    Args:
        images: (n, 1, 28, 28) uint8.
    """
    ink = images.squeeze(1) > INK
    sides = []
    for axis in (1, 2):
        occupied = ink.any(axis).byte()  # (n, 28)
        first, last = occupied.argmax(1), 27 - occupied.flip(1).argmax(1)
        sides.append(last - first + 1)
    return int(torch.maximum(*sides).median())


def _networks(
    model: GenerativeModel, weights: Weights, networks: list[dict[str, Any]]
) -> dict[str, int | None]:
    """Lower decoder and encoder; returns their places in `networks`."""
    networks.append(lower(model, model.decode, (torch.zeros(1, model.latent_dim),), weights))
    places: dict[str, int | None] = {"decode": len(networks) - 1, "encode": None}
    if isinstance(model, Encoder):
        inputs = [torch.zeros(1, 1, 28, 28)]
        if model.conditional:
            inputs.append(torch.zeros(1, dtype=torch.int64))

        def means(*inputs: Tensor, encoder: Encoder = model) -> Tensor:
            return encoder.encode(*inputs)[0]

        networks.append(lower(model, means, tuple(inputs), weights))
        places["encode"] = len(networks) - 1
    return places


@torch.no_grad()
def rounding_difference(model: GenerativeModel, images: Tensor, labels: Tensor) -> float:
    """The largest change of a pixel, in levels of 255, when the weights are rounded to 16 bits.

    It is measured on 1,000 new images and, with an encoder, on the reconstructions of `images`,
    (n, 1, 28, 28).
    """
    rounded = copy.deepcopy(model)
    for tensor in (*rounded.parameters(), *rounded.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())

    def outputs(one: GenerativeModel) -> Tensor:
        new = draw(one, COMPARED, lambda start: generator("explorer rounding", start))
        return torch.cat(
            [new, reconstruct(one, images, labels)] if isinstance(one, Encoder) else [new]
        )

    return 255 * (outputs(model) - outputs(rounded)).abs().max().item()


@torch.no_grad()
def _map(
    runs: Sequence[Run], classifier: Classifier | None, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    """The test images on a plane, by the first encoder's means, else by the classifier."""
    for run in runs:
        if isinstance(run.model, Encoder) and run.model.noise_dim > 1:
            positions, source = latent_means(run.model, images, labels), f"{run.title}'s encoder"
            break
    else:
        if classifier is None:
            return {"points": None, "map": None}
        positions, source = classifier.read(images).features, "the classifier's features"
    plane = latent_map(positions)
    return {"points": _rounded(plane.points[:SHOWN]), "map": source,
            "mapShares": _rounded(plane.shares)}  # fmt: skip


def _sprite(images: Tensor) -> str:
    """Images (n, 1, 28, 28) in [0, 1] as one PNG, in rows of COLUMNS."""
    pixels = as_bytes(images)
    missing = -len(pixels) % COLUMNS
    pixels = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])])
    rows = pixels.unflatten(0, (-1, COLUMNS)).transpose(1, 2).flatten(2).flatten(0, 1)
    file = io.BytesIO()
    Image.fromarray(rows.numpy()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{_base64(file.getvalue())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _rounded(tensor: Tensor) -> Any:
    """Nested lists of numbers with four decimals, to spare bytes."""
    return tensor.double().round(decimals=4).tolist()
