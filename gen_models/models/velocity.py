"""The networks of flow matching: a velocity of all pixels, from pixels, a time and a label.

A small U-Net (Ronneberger et al. 2015), or a perceptron. Both predict the image in which a path
ends, and the velocity follows from it (Li & He 2025, "Back to Basics: Let Denoising Generative
Models Denoise"). The sizes in comments are those of MNIST.
"""

from collections.abc import Sequence
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.models.layers import ACTIVATIONS, mlp
from gen_models.models.networks import GROUPS, Shape

FREQUENCIES = 32  # of a time's columns, a sine and a cosine each
HIGHEST = 1000  # of them
ERROR = 0.05  # that a predicted image is taken to have, of a pixel in [-1, 1]


def time_columns(t: Tensor) -> Tensor:
    """Times in [0, 1], (n,), as sines and cosines, (n, 2 FREQUENCIES) (Vaswani et al. 2017)."""
    frequencies = HIGHEST ** torch.linspace(0, 1, FREQUENCIES, device=t.device)
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def towards(image: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The velocity at x and the times t of paths that end in images, (n, d).

    It is image - z, where x = (1 - t) z + t image. Near the end, a small error of the image makes a
    large one of z, whose estimate is therefore shrunk by (1 - t)^2 / ((1 - t)^2 + ERROR^2).
    """
    rest = (t - 1)[:, None]  # not 1 - t, an operation that the explorer's page does not have
    return image + (x - t[:, None] * image) * rest / (rest * rest + ERROR**2)


class LinearVelocity(nn.Module):
    """A perceptron that is given the pixels, the time and the label.

    Its hidden layers need not carry the noise along, as a predicted velocity would ask of them. The
    image that it predicts is bounded by tanh, or a solver's path could grow without end.
    """

    def __init__(
        self,
        pixels: int,
        dims: Sequence[int],
        activation: str,
        classes: int = 0,
        init: str = "torch",
    ) -> None:
        super().__init__()
        widths = [pixels + 2 * FREQUENCIES + classes, *dims, pixels]
        self.layers = mlp(widths, activation=activation, init=init)

    def forward(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        """Velocities at x, (n, c h w), and the times t, (n,), with a label's columns, (n, k)."""
        image = self.layers(torch.cat([x, time_columns(t), columns], 1)).tanh()
        return towards(image, x, t)


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity; the conditions scale and shift between them.

    As in Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis", appendix A. The
    second convolution starts at 0, so that the block starts as the identity.
    """

    def __init__(self, inputs: int, outputs: int, conditions: int, activation: str) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]()
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.condition = nn.Linear(conditions, 2 * outputs)
        self.norm2 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """(n, outputs, h, w) from (n, inputs, h, w) and the conditions, (n, k)."""
        h = self.conv1(self.act(self.norm1(x)))
        scale, shift = self.condition(conditions)[:, :, None, None].chunk(2, 1)
        h = self.conv2(self.act(self.norm2(h) * (1 + scale) + shift))
        output: Tensor = self.skip(x) + h
        return output


class DenseBlock(nn.Module):
    """Two linear layers over all positions and channels beside the identity.

    As the wide linear layer of InfoGAN's networks, they are cheap where the map is small. The
    conditions scale and shift between them, and the second one starts at 0.
    """

    def __init__(self, shape: Shape, units: int, conditions: int, activation: str) -> None:
        super().__init__()
        self.shape = shape
        self.act = ACTIVATIONS[activation]()
        self.norm = nn.GroupNorm(GROUPS, shape[0])
        self.first = nn.Linear(prod(shape), units)
        self.condition = nn.Linear(conditions, 2 * units)
        self.second = nn.Linear(units, prod(shape))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """The same shape, (n, c, h, w), with the conditions, (n, k)."""
        scale, shift = self.condition(conditions).chunk(2, 1)
        units = self.act(self.first(self.act(self.norm(x)).flatten(1)) * (1 + scale) + shift)
        output: Tensor = x + self.second(units).view(-1, *self.shape)
        return output


class Attention(nn.Module):
    """Self-attention of one head over all positions, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (n, c, h, w)."""
        queries, keys, values = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(queries, keys, values)  # (n, h w, c)
        output: Tensor = x + self.out(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return output


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015) for velocities: two steps down and two up.

    The first step down and the last up only move pixels to channels and back (space to depth), so
    all convolutions run at half the size of the image or a quarter.

    Args:
        image_shape: (c, h, w), h and w multiples of 4.
        width: Channels at half the size; at a quarter there are twice as many.
        activation: A key of `layers.ACTIVATIONS`.
        classes: Columns of a label.
        dense: Units of linear layers over all positions at a quarter of the size; 0 is none.
        attention: Self-attention there.
    """

    def __init__(
        self,
        image_shape: Shape,
        *,
        width: int,
        activation: str,
        classes: int = 0,
        dense: int = 0,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        small = 2 * width, image_shape[1] // 4, image_shape[2] // 4
        planes, wide, conditions = 4 * image_shape[0], 2 * width, 4 * width
        block = partial(ResidualBlock, conditions=conditions, activation=activation)
        self.embed = mlp([2 * FREQUENCIES + classes, conditions, conditions], activation=activation)
        self.act = ACTIVATIONS[activation]()
        self.down1, self.up1 = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.first = nn.Conv2d(planes, width, 3, padding=1)  # (n, w, 14, 14)
        self.fine = block(width, width)
        self.down2 = nn.Conv2d(width, wide, 3, stride=2, padding=1)  # (n, 2w, 7, 7)
        self.coarse1 = block(wide, wide)
        self.dense = DenseBlock(small, dense, conditions, activation) if dense else None
        self.attention = Attention(wide) if attention else None
        self.coarse2 = block(wide, wide)
        self.up2 = nn.ConvTranspose2d(wide, width, 4, stride=2, padding=1)  # (n, w, 14, 14)
        self.merge = block(2 * width, width)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.last = nn.Conv2d(width, planes, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        """Velocities at x, (n, c h w), and the times t, (n,), with a label's columns, (n, k)."""
        conditions = self.act(self.embed(torch.cat([time_columns(t), columns], 1)))
        planes = self.down1(x.unflatten(1, self.image_shape))
        # a processor's convolutions are faster with the channels last
        planes = planes.contiguous(memory_format=torch.channels_last)
        fine = self.fine(self.first(planes), conditions)
        coarse = self.coarse1(self.down2(fine), conditions)
        if self.dense is not None:
            coarse = self.dense(coarse, conditions)
        if self.attention is not None:
            coarse = self.attention(coarse)
        coarse = self.up2(self.coarse2(coarse, conditions))
        h = self.act(self.norm(self.merge(torch.cat([coarse, fine], 1), conditions)))
        return towards(self.up1(self.last(h)).flatten(1), x, t)
