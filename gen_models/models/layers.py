"""Blocks that all models use: activations, dropout and the multi-layer perceptron."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

SLOPE = 0.2  # slope of leaky ReLU below 0
INITS = ("torch", "he")

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, SLOPE),
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "selu": nn.SELU,
}


class Dropout(nn.Dropout):
    """Sets a share p of the units to 0 while training, scales the others up (Hinton et al. 2012).

    A unit takes 16 bits of a 64-bit draw where torch's own dropout takes a draw of 32 bits and a
    branch, which costs a processor twice as much. So the share is the nearest multiple of 1/65536
    to p, and the scale is the exact one of that share.

    Masks are a function of the global generator's state. Processes that train together, each on
    every n-th image of a batch, draw the whole batch's mask and take their rows of it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x, (n, width)."""
        if not self.training:
            return x
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        n, width = len(x) * world, x.shape[1]
        draws = torch.empty(-(-n * width // 4), dtype=torch.int64, device=x.device)
        units = draws.random_(-(2**63), None).view(torch.int16)[: n * width].view(n, width)
        dropped = round(65536 * self.p)  # of the 65536 values of 16 bits
        mask = units[rank::world] >= dropped - 32768  # int16 begins at -32768
        return x * mask.to(x.dtype).div_(1 - dropped / 65536)


def linear_layers(dims: Sequence[int], *, activation: str, init: str = "torch") -> list[nn.Linear]:
    """The linear layers of a perceptron of widths `dims`, input to output.

    Args:
        dims: Widths.
        activation: Activation of the hidden layers; a key of `ACTIVATIONS`.
        init: First weights. "torch": those of `nn.Linear`, whose variance 1 / (3 fan_in) shrinks
            the signal in every layer. "he": N(0, 2 / ((1 + slope^2) fan_in)) with biases of 0
            (He et al. 2015, "Delving Deep into Rectifiers", section 2.2), which keeps it; the slope
            is that of leaky ReLU, 0 for any other activation.
    """
    layers = [nn.Linear(width_in, width_out) for width_in, width_out in pairwise(dims)]
    if init == "he":
        slope = SLOPE if activation == "leaky_relu" else 0.0
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, a=slope, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
    return layers


def mlp(
    dims: Sequence[int], *, activation: str, dropout: float = 0.0, init: str = "torch"
) -> nn.Sequential:
    """Linear layers of widths `dims`, input to output; activation and dropout after hidden ones.

    Maps (n, dims[0]) to (n, dims[-1]). `init`: see `linear_layers`.
    """
    *hidden, output = linear_layers(dims, activation=activation, init=init)
    layers: list[nn.Module] = []
    for layer in hidden:
        layers += [layer, ACTIVATIONS[activation]()]
        if dropout > 0:
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers, output)
