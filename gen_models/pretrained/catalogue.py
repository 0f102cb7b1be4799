"""Which trained models come with the package, and what each is. Without torch.

A model's name is its folder's: "mnist/gan_best".
"""

import difflib
import os
from math import prod
from pathlib import Path
from typing import NamedTuple

from gen_models.errors import UserError
from gen_models.files import read_json
from gen_models.places import PRETRAINED
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import model_name, model_title


class Shipped(NamedTuple):
    """A model that comes with the package."""

    name: str
    family: str  # "GAN", "VAE", "Flow"
    parameters: int  # in the file of weights
    distance: float  # `fid_lenet` of as many new images as there are test images
    real: float  # the same of real images
    size: int  # bytes of the weights and the sampler
    classes: int  # that can be asked for; 0 if none can


def names() -> list[str]:
    """The names of all models."""
    folders = [file.parent for file in PRETRAINED.glob("*/*/model.json")]
    return sorted(folder.relative_to(PRETRAINED).as_posix() for folder in folders)


def find_model(name: str) -> Path:
    """The run directory of a model.

    Raises:
        UserError: There is no such model.
    """
    if name not in names():
        raise UserError(f"{name}: no model of that name comes with gen-models. {_hint(name)}")
    return PRETRAINED / name


def find_run(path: Path) -> Path:
    """A run directory as it is, or that of a model's name; a directory goes before a name.

    Raises:
        UserError: There is nothing at this path, and it resembles a model's name.
    """
    if os.path.exists(path):
        return path
    if path.as_posix() in names():
        return PRETRAINED / path
    if _similar(path.as_posix()):
        raise UserError(
            f"{path}: there is no such run, and no model of that name comes with gen-models. "
            f"{_hint(path.as_posix())}"
        )
    return path


def page_models() -> list[Path]:
    """The run directories of the explorer's page without a RUN: of MNIST, three at most."""
    return [PRETRAINED / name for name in names() if name.startswith("mnist/")][:3]


def list_models() -> list[Shipped]:
    """All models, as their files describe them."""
    return [_read(name, RunDirectory(PRETRAINED / name)) for name in names()]


def _read(name: str, run: RunDirectory) -> Shipped:
    from safetensors import safe_open

    with safe_open(run.weights, "numpy") as file:
        parameters = sum(prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    metrics, arguments = read_json(run.metrics), read_json(run.model)["arguments"]
    files = [file for file in (run.weights, run.sampler) if file.exists()]
    return Shipped(
        name,
        model_title(model_name(run.read_config())),
        parameters,
        metrics["fid_lenet"],
        metrics["floor/fid_lenet"],
        sum(file.stat().st_size for file in files),
        arguments["classes"] if arguments["conditional"] else 0,
    )


def _similar(name: str) -> list[str]:
    return difflib.get_close_matches(name, names(), 1)


def _hint(name: str) -> str:
    if near := _similar(name):
        return f"Did you mean {near[0]}?"
    return f"There are: {', '.join(names())}"
