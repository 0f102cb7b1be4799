"""From one or two runs to one HTML file that needs no network."""

import base64
import copy
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch import Tensor, nn

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.explorer.directions import Prior, principal_directions, prior_of
from gen_models.explorer.graph import Weights, lower
from gen_models.metrics.classifier import Classifier, classifier_path, load_classifier
from gen_models.metrics.latent import latent_map
from gen_models.metrics.reconstruction import prior_reach
from gen_models.models.interface import (
    Encoder,
    GenerativeModel,
    draw,
    encode_means,
    reconstruct,
)
from gen_models.runs.directory import RunDirectory
from gen_models.runs.weights import load_model
from gen_models.seeding import generator
from gen_models.training.reporting import run_title

SHOWN = 500  # test images that the page holds
COLUMNS = 25  # of the picture that holds them
COMPARED = 1000  # new images on which rounding the weights is measured
SOURCES = {  # of the test images that the page holds, with their licence
    "mnist": "MNIST by Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0",
    "fashion_mnist": "Fashion-MNIST by Zalando SE, MIT licence",
    "kmnist": "KMNIST by CODH, CC BY-SA 4.0",
    "digits": "Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, CC BY 4.0",
}


class Explorer(NamedTuple):
    """The page as it was written."""

    path: Path
    size: int  # bytes
    difference: float  # the largest of a pixel by 16-bit weights, in levels of 255
    left_out: list[str]  # a sentence each


class _Run(NamedTuple):
    title: str
    path: Path
    model: GenerativeModel
    data: str
    root: str | None


def explore(
    paths: Sequence[Path],
    output: Path,
    *,
    data_root: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None],
) -> Explorer:
    """Write the page of one or two runs of a data set.

    Args:
        paths: Run directories.
        output: An .html file.
        data_root: Folder of the data sets, if it is not the first run's.
        overwrite: Replace the file.
        say: Called with a line before each part.

    Raises:
        UserError: The runs cannot be shown together, one cannot be carried into the page, or the
            file exists or cannot be written.
    """
    _check_output(output, overwrite)
    runs = _read_runs(paths)
    data = MNISTDataModule(name=runs[0].data, root=data_root or runs[0].root)
    data.prepare_data()
    data.setup()
    classifier_file = classifier_path(data.name, data.root)
    known = classifier_file.with_suffix(".safetensors").is_file()
    classifier = load_classifier(classifier_file) if known else None
    content, difference = _content(runs, data, classifier, say)
    left_out = _left_out(runs, classifier)
    facts = {"difference": difference, "left_out": left_out, "source": SOURCES[data.name]}
    text = _render(content | {"leftOut": left_out}, facts)
    _write(text, output)
    return Explorer(output, len(text.encode()), difference, left_out)


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != ".html":
        raise UserError(f"--output {output}: must end in .html")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")
    if output.exists() and not overwrite:
        raise UserError(f"--output {output}: exists: --overwrite replaces it")


def _read_runs(paths: Sequence[Path]) -> list[_Run]:
    if len(paths) > 2:
        raise UserError(f"{len(paths)} runs given: the page shows one or two")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"{paths[0]}: given twice: name two runs, or one")
    runs = []
    for path in paths:
        model = load_model(path)
        config = RunDirectory(path).read_config()
        title = run_title(config)
        runs.append(_Run(title, path, model, config["data"]["name"], config["data"]["root"]))
    if runs[0].data != runs[-1].data:
        raise UserError(
            f"runs on two data sets: {runs[0].data} ({runs[0].path}) and {runs[-1].data} "
            f"({runs[-1].path}): a page is of one"
        )
    if len(runs) == 2 and runs[0].title == runs[1].title:
        return [run._replace(title=f"{run.title}, {run.path.resolve().name}") for run in runs]
    return runs


def _content(
    runs: Sequence[_Run],
    data: MNISTDataModule,
    classifier: Classifier | None,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], float]:
    """What the page's script reads, and the largest difference of a pixel."""
    images, labels = data.splits["test"]
    order = torch.randperm(len(images), generator=generator("test order"))
    images, labels = images[order].float() / 255, labels[order]
    shown = images[:SHOWN]
    weights = Weights()
    networks: list[dict[str, Any]] = []
    models, differences = [], []
    for run in runs:
        say(f"carrying {run.title} into the page ({run.path})")
        prior = prior_of(run.model)
        differences.append(rounding_difference(run.model, shown, labels[:SHOWN]))
        models.append(
            {"title": run.title, "run": str(run.path), "latent": run.model.latent_dim}
            | {"prior": prior.kind, "classes": prior.classes}
            | {"reach": _reach(run.model, prior)}
            | _networks(run.model, prior, weights, networks)
            | _directions(run.model, prior, images, labels)
        )
    content: dict[str, Any] = {"models": models, "data": data.name, "classifier": None}
    if classifier is not None:
        content["classifier"] = len(networks)
        network = classifier.network
        networks.append(lower(network, network, (torch.zeros(1, *shown.shape[1:]),), weights))
    content |= _map(runs, classifier, images, labels)
    content |= {"labels": labels[:SHOWN].tolist(), "columns": COLUMNS, "networks": networks}
    content |= {"sprite": _sprite(shown), "weights": _base64(weights.to_bytes())}
    return content, max(differences)


def _networks(
    model: GenerativeModel, prior: Prior, weights: Weights, networks: list[dict[str, Any]]
) -> dict[str, int | None]:
    """Lower decoder and encoder; returns their places in `networks`."""
    assert isinstance(model, nn.Module)
    networks.append(lower(model, model.decode, (torch.zeros(1, model.latent_dim),), weights))
    places: dict[str, int | None] = {"decode": len(networks) - 1, "encode": None}
    if isinstance(model, Encoder):
        inputs = [torch.zeros(1, 1, 28, 28)]
        if prior.classes:
            inputs.append(torch.zeros(1, dtype=torch.int64))

        def means(*inputs: Tensor, encoder: Encoder = model) -> Tensor:
            return encoder.encode(*inputs)[0]

        networks.append(lower(model, means, tuple(inputs), weights))
        places["encode"] = len(networks) - 1
    return places


def _reach(model: GenerativeModel, prior: Prior) -> dict[str, float]:
    """How far z goes without its label, whose length is 1."""
    reach = prior_reach(model)
    return {
        "radius": (reach.radius**2 - (1 if prior.classes else 0)) ** 0.5,
        "coordinate": reach.coordinate,
    }


def _directions(
    model: GenerativeModel, prior: Prior, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    found = principal_directions(model, prior, images, labels)
    return {"steps": _rounded_list(found.steps), "shares": _rounded_list(found.shares)}


@torch.no_grad()
def rounding_difference(model: GenerativeModel, images: Tensor, labels: Tensor) -> float:
    """The largest change of a pixel, in levels of 255, when the weights are rounded to 16 bits.

    Of 1,000 new images and, with an encoder, of what it makes of `images`, (n, 1, 28, 28).
    """
    rounded = copy.deepcopy(model)
    assert isinstance(rounded, nn.Module)
    for tensor in (*rounded.parameters(), *rounded.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())

    def made(one: GenerativeModel) -> Tensor:
        new = draw(one, COMPARED, lambda start: generator("explorer rounding", start))
        return torch.cat(
            [new, reconstruct(one, images, labels)] if isinstance(one, Encoder) else [new]
        )

    return 255 * (made(model) - made(rounded)).abs().max().item()


@torch.no_grad()
def _map(
    runs: Sequence[_Run], classifier: Classifier | None, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    """The test images on a plane: by the first encoder's means, else by the classifier."""
    for run in runs:
        if isinstance(run.model, Encoder) and run.model.latent_dim > 1:
            found, what = encode_means(run.model, images, labels), f"{run.title}'s encoder"
            break
    else:
        if classifier is None:
            return {"points": None, "map": None}
        found, what = classifier.read(images).features, "the classifier's features"
    plane = latent_map(found)
    return {"points": _rounded_list(plane.points[:SHOWN]), "map": what,
            "mapShares": _rounded_list(plane.shares)}  # fmt: skip


def _left_out(runs: Sequence[_Run], classifier: Classifier | None) -> list[str]:
    """What these runs cannot show, a sentence each."""
    said = []
    for run in runs:
        if not isinstance(run.model, Encoder):
            said.append(
                f"{run.title} has no encoder, so a given digit is recreated by a search for z."
            )
    if not any(isinstance(run.model, Encoder) for run in runs):
        said.append(
            "The map shows what the classifier makes of the test images, for want of an encoder."
            if classifier
            else "There is no map: neither an encoder nor a classifier of this data set."
        )
    if classifier is None:
        said.append(
            "There is no classifier of this data set, so what it sees is left out "
            f"(gen-models train-classifier --data {runs[0].data})."
        )
    return said


def _sprite(images: Tensor) -> str:
    """Images (n, 1, 28, 28) in [0, 1] as one PNG, in rows of COLUMNS."""
    pixels = images.mul(255).round().to(torch.uint8).squeeze(1)
    missing = -len(pixels) % COLUMNS
    pixels = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])])
    rows = pixels.unflatten(0, (-1, COLUMNS)).transpose(1, 2).flatten(2).flatten(0, 1)
    file = io.BytesIO()
    Image.fromarray(rows.numpy()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{_base64(file.getvalue())}"


def _render(content: dict[str, Any], facts: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("gen_models.explorer", "page"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    titles = [model["title"] for model in content["models"]]
    return environment.get_template("page.html.j2").render(
        content=script, titles=titles, data=content["data"], **facts
    )


def _write(text: str, output: Path) -> None:
    temporary = output.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, output)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from error


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _rounded_list(tensor: Tensor) -> Any:
    """Nested lists of numbers with four decimals, to spare bytes."""
    return [[round(x, 4) for x in row] if isinstance(row, list) else round(row, 4)
            for row in tensor.tolist()]  # fmt: skip
