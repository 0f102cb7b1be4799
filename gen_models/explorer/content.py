"""What the page holds: networks, directions, a map and test images, as JSON can hold it."""

import base64
import copy
import io
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeGuard

import torch
from PIL import Image
from torch import Tensor

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.explorer.directions import principal_directions
from gen_models.explorer.graph import Weights, lower
from gen_models.metrics.classifier import Classifier
from gen_models.metrics.distribution import DIGITS
from gen_models.metrics.latent import latent_map
from gen_models.metrics.reconstruction import prior_reach
from gen_models.models.interface import (
    Density,
    Encoder,
    GenerativeModel,
    draw,
    latent_means,
    reconstruct,
)
from gen_models.models.networks import label_columns
from gen_models.runs.directory import RunDirectory
from gen_models.seeding import generator
from gen_models.terminal import Say

SHOWN = 500  # test images that the page holds at most
SHOWN_NUMBERS = 1_200_000  # and of their pixels, one byte each before compression
MIXED = 250_000  # and of a sampler's, of which it holds about half, 8 bytes each
COLUMNS = 25  # in the picture that holds them
COMPARED = 1000  # new images on which rounding the weights is measured
INK = 25  # of 255: a pixel that differs more from the ground belongs to what an image shows


class Run(NamedTuple):
    """A run that the page shows."""

    title: str
    directory: RunDirectory
    data: str  # name of the data set on which it was trained
    model: GenerativeModel
    sampler_name: str  # of its sampler; "" without one
    sampler: Mapping[str, Tensor]  # weights, means, factors; empty: new images are the prior's


def page_content(
    runs: Sequence[Run],
    data: MNISTDataModule,
    classifier: Classifier | None,
    say: Say,
) -> tuple[dict[str, Any], float]:
    """What the page's script reads, and the largest change of a pixel by rounding the weights.

    Args:
        runs: One run to three.
        data: The data set of the runs, set up.
        classifier: The classifier of the data set, if there is one.
        say: Called with a line before each run.
    """
    test = data.splits["test"]
    order = torch.randperm(len(test.images), generator=generator("test order"))
    pixels, labels = test.take(order)
    images = pixels.float() / 255
    first = slice(shown_images(data.image_shape))
    shown, shown_labels = test.take(order[first])
    weights = Weights()
    networks: list[dict[str, Any]] = []
    models, differences = [], []
    for run in runs:
        say(f"adding {run.title} to the page ({run.directory.path})")
        model = run.model
        if model.prior_kind == "mixture":
            raise UserError(
                f"{run.directory.path}: the page can draw only from N(0, I) and U(-1, 1), and this "
                "model's prior is neither: leave this run out"
            )
        differences.append(rounding_difference(model, images[first], shown_labels))
        models.append(
            {
                "title": run.title,
                "latent": model.latent_dim,
                "prior": model.prior_kind,
                "classes": model.label_dim,
                "sampler": _sampler(run.sampler),
                "reach": prior_reach(model)._asdict(),
                **_directions(model, images, labels),
                **_networks(model, weights, networks),
            }
        )
    place: int | None = None
    if classifier is not None:
        network, place = classifier.network, len(networks)
        networks.append(lower(network, network, (torch.zeros(1, *data.image_shape),), weights))
    train = data.splits["train"].images
    content = {
        "models": models,
        "classifier": place,
        "shape": data.image_shape,
        "names": data.class_names,
        "thing": "digit" if data.class_names == DIGITS else "image",
        **_map(runs, classifier, images, labels, len(shown)),
        "labels": None if shown_labels is None else shown_labels.tolist(),
        "count": len(shown),
        "columns": COLUMNS,
        "networks": networks,
        "light": is_light(train),
        "box": image_box(train),
        "sprite": _sprite(shown),
        "weights": _base64(weights.to_bytes()),
    }
    return content, max(differences)


def fits_page(sampler: Mapping[str, Tensor]) -> bool:
    """Whether the page has room for a sampler."""
    return sum(tensor.numel() for tensor in sampler.values()) <= MIXED


def _sampler(sampler: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """A sampler as JSON holds it, of its triangular factors the rows as far as they go."""
    if not sampler:
        return None
    numbers = {name: _rounded(tensor) for name, tensor in sampler.items()}
    numbers["factors"] = [
        [[row[: place + 1] for place, row in enumerate(factor)] for factor in mixture]
        for mixture in numbers["factors"]
    ]
    return numbers


def shown_images(image_shape: tuple[int, int, int]) -> int:
    """Number of test images that a page holds: fewer where they are large, to bound its size."""
    return min(SHOWN, SHOWN_NUMBERS // prod(image_shape))


def is_light(images: Tensor) -> bool:
    """Whether (n, c, h, w) uint8 images show something dark on a light ground: by their edges."""
    edges = images[..., :: images.shape[2] - 1, :], images[..., :: images.shape[3] - 1]
    return bool(sum(edge.float().mean() for edge in edges) > 255)


def image_box(images: Tensor) -> tuple[int, int]:
    """Height and width of the part of the frame that what an image shows usually fills.

    Both are the same share of the frame's: the median of the larger one. MNIST scales its digits to
    20 of 28 pixels; other data sets fill the image.

    Args:
        images: (n, c, h, w) uint8.
    """
    ink = images < 255 - INK if is_light(images) else images > INK
    ink = ink.any(1)  # (n, h, w)
    shares = []
    for axis in (2, 1):
        occupied = ink.any(axis).byte()  # (n, h), then (n, w)
        side = occupied.shape[1]
        first, last = occupied.argmax(1), side - 1 - occupied.flip(1).argmax(1)
        shares.append((last - first + 1) / side)
    share = torch.maximum(*shares).median().item()
    height, width = images.shape[2:]
    return round(share * height), round(share * width)


def _directions(model: GenerativeModel, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """What the sliders do; nothing where z is as large as an image, which has a slider of time."""
    if isinstance(model, Density):
        return {"steps": [], "shares": []}
    directions = principal_directions(model, images, labels)
    return {"steps": _rounded(directions.steps), "shares": _rounded(directions.shares)}


def _networks(
    model: GenerativeModel, weights: Weights, networks: list[dict[str, Any]]
) -> dict[str, Any]:
    """Lower decoder and encoder, or the velocity; returns their places in `networks`."""

    def place(function: Callable[..., Tensor], *inputs: Tensor) -> int:
        networks.append(lower(model, function, inputs, weights))
        return len(networks) - 1

    if isinstance(model, Density):
        flow, width = model.flow, model.label_dim
        network = place(
            lambda x, t, columns: flow(x, t, label_columns(columns, width)),
            torch.zeros(1, model.pixels), torch.zeros(1), torch.zeros(1, width),
        )  # fmt: skip
        solved = {"network": network, "solver": model.solver, "steps": model.steps}
        return {"decode": None, "encode": None, "flow": solved}
    decode, encode = place(model.decode, torch.zeros(1, model.latent_dim)), None
    if isinstance(model, Encoder):
        encoder, image = model.encode, torch.zeros(1, *model.image_shape)
        label = [torch.zeros(1, dtype=torch.int64)] if model.conditional else []
        encode = place(lambda *images: encoder(*images)[0], image, *label)
    return {"decode": decode, "encode": encode, "flow": None}


@torch.no_grad()
def rounding_difference(model: GenerativeModel, images: Tensor, labels: Tensor | None) -> float:
    """The largest change of a pixel, in levels of 255, when the weights are rounded to 16 bits.

    It is measured on 1,000 new images and, with an encoder, on the reconstructions of `images`,
    (n, c, h, w); on fewer of a model that takes several steps for each.
    """
    steps = model.steps or 1
    images, labels = images[::steps], None if labels is None else labels[::steps]
    rounded = copy.deepcopy(model)
    for tensor in (*rounded.parameters(), *rounded.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())

    def outputs(one: GenerativeModel) -> Tensor:
        new = draw(one, COMPARED // steps, lambda start: generator("explorer rounding", start))
        return torch.cat(
            [new, reconstruct(one, images, labels)] if isinstance(one, Encoder) else [new]
        )

    return 255 * (outputs(model) - outputs(rounded)).abs().max().item()


@torch.no_grad()
def _map(
    runs: Sequence[Run],
    classifier: Classifier | None,
    images: Tensor,
    labels: Tensor | None,
    shown: int,
) -> dict[str, Any]:
    """The first test images on a plane, by an encoder's means, else by the classifier.

    A conditional model's means say nothing of the class: there the classifier goes first.
    """
    encoders = [run for run in runs if has_codes(run.model) and run.model.noise_dim > 1]
    free = [run for run in encoders if not run.model.conditional]
    if free or (encoders and classifier is None):
        run = (free or encoders)[0]
        assert isinstance(run.model, Encoder)
        positions, source = latent_means(run.model, images, labels), f"{run.title}'s encoder"
    elif classifier is not None:
        positions, source = classifier.read(images).features, "the classifier's features"
    else:
        return {"points": None, "map": None}
    plane = latent_map(positions)
    return {"points": _rounded(plane.points[:shown]), "map": source,
            "mapShares": _rounded(plane.shares)}  # fmt: skip


def has_codes(model: GenerativeModel) -> TypeGuard[Encoder]:
    """Whether a model encodes images as something smaller than they are."""
    return isinstance(model, Encoder) and not isinstance(model, Density)


def _sprite(images: Tensor) -> str:
    """Images (n, c, h, w) uint8 as one PNG, in rows of COLUMNS."""
    missing = -len(images) % COLUMNS
    images = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
    rows = images.unflatten(0, (-1, COLUMNS)).permute(0, 3, 1, 4, 2)  # (rows, h, COLUMNS, w, c)
    sheet = rows.flatten(2, 3).flatten(0, 1)  # (rows h, COLUMNS w, c)
    file = io.BytesIO()
    Image.fromarray(sheet.squeeze(2).numpy()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{_base64(file.getvalue())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _rounded(tensor: Tensor) -> Any:
    """Nested lists of numbers with four decimals, to spare bytes."""
    return tensor.double().round(decimals=4).tolist()
