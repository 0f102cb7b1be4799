"""Blocks that both models use: the table of activations and the multi-layer perceptron."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.checks import check_choice
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
    return check_choice("activation", name, list(ACTIVATIONS))


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


class Dropout(nn.Module):
    """Sets a share of the units to 0 while training, and scales the others up (Hinton et al. 2012).

    A unit takes one byte of a 64-bit draw where torch's own dropout takes a draw of 32 bits and a
    branch, which costs a processor ten times as much. So the share is a multiple of 1/256, and the
    scale is the exact one of that share.

    Masks are a function of the global generator's state. Processes that train together, each on
    every n-th image of a batch, draw the whole batch's mask and take their rows of it.

    Args:
        share: Wanted share of units, [0, 1); `share` holds the nearest that a byte can say.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(256 * share)  # of the 256 values of a byte
        self.share = self.dropped / 256

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x, (n, width)."""
        if not self.training:
            return x
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        n, width = len(x) * world, x.shape[1]
        draws = torch.empty(-(-n * width // 8), dtype=torch.int64, device=x.device)
        units = draws.random_(-(2**63), None).view(torch.uint8)[: n * width].view(n, width)
        # 1 where the byte is at least `dropped`, else 0: arithmetic is faster than comparisons
        mask = units[rank::world].to(x.dtype).sub_(self.dropped - 1).clamp_(0, 1)
        return x * mask / (1 - self.share)

    def extra_repr(self) -> str:
        """The share, shown when the network is printed."""
        return f"{self.share:g}"


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
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers, output)
