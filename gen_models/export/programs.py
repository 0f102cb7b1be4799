"""Networks of a run as files, ONNX or torch.export, each read back and compared with the model."""

import copy
import io
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gen_models.errors import UserError, first_line
from gen_models.metrics.classifier import Classifier
from gen_models.models.interface import Density, Encoder, GenerativeModel
from gen_models.models.program import Call, quiet, to_program
from gen_models.places import how_to_install
from gen_models.seeding import generator

CHECKED = 64  # inputs that are compared
TOLERANCE = 1e-4  # largest difference allowed; float32 sums in another order differ by 1e-6


class Part(NamedTuple):
    """A network to be exported.

    Attributes:
        name: Of its file, without the ending.
        network: Takes the inputs in order; one tensor, or a tuple of them.
        inputs: Name -> 64 examples.
        outputs: Names of what it returns.
    """

    name: str
    network: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class Format(NamedTuple):
    """A kind of file: its ending, what it needs installed, how it is written and run."""

    ending: str
    needs: tuple[str, ...]
    write: Callable[[torch.export.ExportedProgram, Part, Path], None]
    run: Callable[[Path, dict[str, Tensor]], list[np.ndarray]]


class Exported(NamedTuple):
    """One file of an export: shapes without the number of images, and the check's outcome."""

    file: str
    inputs: dict[str, list[int]]
    outputs: tuple[str, ...]
    difference: float


def latents(model: GenerativeModel) -> Tensor:
    """The z on which an export is checked, (64, latent_dim)."""
    return model.prior(CHECKED, generator("export"))


@torch.random.fork_rng(devices=[])  # rebuilding a network draws its first weights
def parts_of(model: GenerativeModel, classifier: Classifier | None) -> list[Part]:
    """The networks of a model, and the classifier.

    The decoder ("generator" of a model without an encoder) and the encoder; of a model that solves
    an equation, only its velocity: the solver is a loop that no file could hold.
    """
    with torch.no_grad():
        z = latents(model)
        images = model.decode(z)
    if isinstance(model, Density):
        inputs = {"x": z[:, : model.noise_dim], "t": torch.linspace(0, 1, CHECKED)}
        if model.conditional:
            inputs["label"] = z[:, model.noise_dim :]
        parts = [Part("velocity", Call(model, partial(_velocity, model)), inputs, ("velocity",))]
    else:
        name = "decoder" if isinstance(model, Encoder) else "generator"
        parts = [Part(name, Call(model, model.decode), {"z": z}, ("images",))]
        if isinstance(model, Encoder):
            inputs = {"images": images}
            if model.conditional:
                inputs["labels"] = torch.arange(CHECKED) % model.classes
            parts.append(Part("encoder", Call(model, model.encode), inputs, ("mean", "logvar")))
    if classifier is not None:
        # channels_last, a matter of speed, would be a part of the file
        network = copy.deepcopy(classifier.network).to(memory_format=torch.contiguous_format)
        call = Call(network, network.forward)
        parts.append(Part("classifier", call, {"images": images}, ("logits",)))
    return parts


def _velocity(model: Density, x: Tensor, t: Tensor, *label: Tensor) -> Tensor:
    """Velocities, (n, c h w), at x, the times and the label's columns if there are any."""
    return model.flow(x, t, *(label or [x[:, :0]]))


def write_part(part: Part, kind: Format, folder: Path) -> Exported:
    """Write one file and compare it with the network, on all examples and on one alone.

    Raises:
        UserError: It cannot be exported, or the file computes something else.
    """
    file = f"{part.name}{kind.ending}"
    inputs = tuple(part.inputs.values())
    try:
        network = _without_unused_weights(part.network.eval(), inputs)
        program = to_program(network, inputs, any_number=True)
        with quiet():
            kind.write(program, part, folder / file)
    except Exception as error:  # the exporter may raise anything about an operation
        raise UserError(
            f"its {part.name} cannot be exported ({first_line(error)}); try the other --format"
        ) from error
    difference = max(_difference(part, kind, folder / file, count) for count in (CHECKED, 1))
    if not difference <= TOLERANCE:
        raise UserError(
            f"its {part.name} as a file differs by {difference:.2g} from the model, which is more "
            f"than {TOLERANCE:g}: nothing was written; try the other --format"
        )
    rows = {name: list(tensor.shape[1:]) for name, tensor in part.inputs.items()}
    return Exported(file, rows, part.outputs, difference)


def check_installed(kind: Format) -> None:
    """Raise a UserError if what a format needs is not installed."""
    missing = [name for name in kind.needs if find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed: {how_to_install('export')}")


@torch.enable_grad()
def _without_unused_weights(network: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """A copy without the weights that no output depends on, as those of a GAN's discriminator."""
    twin = copy.deepcopy(network).requires_grad_(True)
    outputs = _tuple(twin(*inputs))
    weights = dict(twin.named_parameters())
    total = torch.stack([output.sum() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    for name, gradient in zip(weights, gradients, strict=True):
        if gradient is None:
            owner, _, leaf = name.rpartition(".")
            setattr(twin.get_submodule(owner), leaf, None)
    return twin.requires_grad_(False)


def _difference(part: Part, kind: Format, path: Path, count: int) -> float:
    """The largest difference of an output on the first `count` examples."""
    inputs = {name: tensor[:count] for name, tensor in part.inputs.items()}
    with torch.no_grad():
        expected = _tuple(part.network(*inputs.values()))
    return max(
        float(np.abs(a.numpy() - b).max()) if a.shape == b.shape else float("inf")
        for a, b in zip(expected, kind.run(path, inputs), strict=True)
    )


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _write_onnx(program: torch.export.ExportedProgram, part: Part, path: Path) -> None:
    torch.onnx.export(
        program,
        f=path,
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        external_data=False,
        verbose=False,
    )


def _run_onnx(path: Path, inputs: dict[str, Tensor]) -> list[np.ndarray]:
    import onnxruntime  # of the extra

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    outputs: list[np.ndarray] = session.run(None, arrays)
    return outputs


def _write_torch(program: torch.export.ExportedProgram, part: Part, path: Path) -> None:
    content = io.BytesIO()  # torch itself aborts the process if the disk is full
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def _run_torch(path: Path, inputs: dict[str, Tensor]) -> list[np.ndarray]:
    module = torch.export.load(path).module()
    with torch.no_grad():
        return [output.numpy() for output in _tuple(module(*inputs.values()))]


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _run_onnx),
    "torch": Format(".pt2", (), _write_torch, _run_torch),
}
