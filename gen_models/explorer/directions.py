"""The latent directions that change images most."""

from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.errors import UserError
from gen_models.metrics.pixels import principal_components
from gen_models.models.interface import Encoder, GenerativeModel, latent_means
from gen_models.seeding import generator

DIRECTIONS = 8
DRAWS = 1000  # of the prior


class Directions(NamedTuple):
    """Steps in z of one standard deviation each, those of the largest variance first."""

    steps: Tensor  # (k, latent_dim); 0 in the label's columns
    shares: Tensor  # (k,) of the variance, [0, 1]


@torch.no_grad()
def principal_directions(
    model: GenerativeModel, images: Tensor, labels: Tensor | None
) -> Directions:
    """Principal components of the encoder's means or, without an encoder, of the first layer.

    The latter is GANSpace (Haerkoenen et al. 2020, section 3.1) for an isotropic prior: the layer
    is a linear function of z, fitted by least squares, and steps along its singular vectors are the
    principal components of its output.

    Args:
        model: In eval mode, on the CPU.
        images: (n, c, h, w) in [0, 1], for an encoder.
        labels: (n,) int64, or None where the images have none.
    """
    width = model.noise_dim
    count = min(DIRECTIONS, width)
    if isinstance(model, Encoder):
        principal = principal_components(latent_means(model, images, labels), width)
        steps = principal.components * principal.variances.sqrt().unsqueeze(1)  # (width, width)
        variances = principal.variances
    else:
        z = model.prior(DRAWS, generator("explorer"), torch.zeros(DRAWS, dtype=torch.int64))
        layer = _first_layer(model, z)  # (draws, units)
        z = z[:, :width] - z[:, :width].mean(0)
        linear = torch.linalg.lstsq(z, layer - layer.mean(0)).solution  # (width, units)
        vectors, values, _ = torch.linalg.svd(linear, full_matrices=False)
        steps, variances = vectors.T * z.std(), values.square()
    steps = F.pad(steps[:count], (0, model.latent_dim - width))
    return Directions(steps, variances[:count] / variances.sum())


def _first_layer(model: GenerativeModel, z: Tensor) -> Tensor:
    """The output of the first layer with weights, (n, units)."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    with ExitStack() as hooks:
        for module in model.modules():
            if "weight" in module._parameters:
                hooks.enter_context(module.register_forward_hook(keep))
        model.decode(z)
    if not outputs:
        raise UserError(f"a {type(model).__name__} has no layer with weights: leave this run out")
    return outputs[0].flatten(1)
