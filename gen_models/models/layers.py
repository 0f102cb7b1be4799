"""Blocks that both models use: the table of activations and the multi-layer perceptron."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.data.loader import IMAGE_SIZE

PIXELS = IMAGE_SIZE * IMAGE_SIZE

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": F.tanh,
    "selu": F.selu,
}


def check_activation(name: str) -> str:
    """Return `name`; raise ValueError, listing the known, if it is not in `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return name


class Activation(nn.Module):
    """One of `ACTIVATIONS` as a module, so that it stands in a printed network."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = check_activation(name)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation elementwise."""
        return ACTIVATIONS[self.name](x)

    def extra_repr(self) -> str:
        """The name, shown when the network is printed."""
        return self.name


def linear_layers(dims: Sequence[int]) -> list[nn.Linear]:
    """The linear layers of a perceptron of widths `dims`, input to output."""
    return [nn.Linear(width_in, width_out) for width_in, width_out in pairwise(dims)]


def mlp(dims: Sequence[int], *, activation: str, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of widths `dims`, input to output; activation and dropout after hidden ones.

    Maps (n, dims[0]) to (n, dims[-1]).
    """
    *hidden, output = linear_layers(dims)
    layers: list[nn.Module] = []
    for layer in hidden:
        layers += [layer, Activation(activation)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, output)
