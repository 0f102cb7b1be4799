"""Blocks that both models use: the table of activations and the multi-layer perceptron."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SIZE = 28
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


def mlp(dims: Sequence[int], *, activation: str, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of widths `dims`, input to output; activation and dropout after hidden ones.

    Maps (n, dims[0]) to (n, dims[-1]).
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(dims):
        layers.append(nn.Linear(width_in, width_out))
        layers.append(Activation(activation))
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    hidden = layers[: -2 if dropout > 0 else -1]  # nothing after the output layer
    return nn.Sequential(*hidden)
