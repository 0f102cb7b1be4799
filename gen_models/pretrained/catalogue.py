"""Which trained models come with the package, and what each is. Without torch.

A model's name is its folder's: "mnist/gan_best".
"""

import difflib
import os
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
    known = names()
    if name in known:
        return PRETRAINED / name
    near = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
    raise UserError(f"{name}: there is no such run or model that comes with gen-models. {hint}")


def find_run(path: Path) -> Path:
    """A run directory as it is, or that of a model's name; a directory goes before a name.

    Raises:
        UserError: There is nothing at this path, and it resembles a model's name.
    """
    name = path.as_posix()
    similar = difflib.get_close_matches(name, names(), 1)  # or the same
    return find_model(name) if similar and not os.path.exists(path) else path


def page_models() -> list[Path]:
    """The run directories of the explorer's page without a RUN: of MNIST, three at most."""
    return [PRETRAINED / name for name in names() if name.startswith("mnist/")][:3]


def list_models() -> list[Shipped]:
    """All models, as their files describe them."""
    from safetensors.numpy import load_file

    models = []
    for name in names():
        run = RunDirectory(PRETRAINED / name)
        metrics, arguments = read_json(run.metrics), read_json(run.model)["arguments"]
        model = Shipped(
            name,
            family=model_title(model_name(run.read_config())),
            parameters=sum(array.size for array in load_file(run.weights).values()),
            distance=metrics["fid_lenet"],
            real=metrics["floor/fid_lenet"],
            size=sum(file.stat().st_size for file in (run.weights, run.sampler) if file.exists()),
            classes=arguments["classes"] if arguments["conditional"] else 0,
        )
        models.append(model)
    return models
