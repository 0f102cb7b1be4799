"""The network of the classifier: LeNet-5 (LeCun et al. 1998) with batch normalisation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SHAPE, CLASSES = (1, 28, 28), 10  # of MNIST
SIDE = 8  # pixels that the three poolings make one
WIDTH = 84  # features, as in LeNet-5; few, because the bias of a distance grows with them


class LeNet(nn.Module):
    """Three convolutions and two linear layers, from (n, c, h, w) in [0, 1] to logits.

    Args:
        image_shape: Channels, height and width; at least 8 pixels both ways.
        classes: Number of logits; 0 for a network of random weights, whose features alone are read.
    """

    def __init__(self, image_shape: Sequence[int] = IMAGE_SHAPE, classes: int = CLASSES) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.convolutions = nn.Sequential(  # of MNIST:
            *_convolution(channels, 24, 5),  # (n, 24, 14, 14)
            *_convolution(24, 48, 3),  # (n, 48, 7, 7)
            *_convolution(48, 96, 3),  # (n, 96, 3, 3)
        )
        self.penultimate = nn.Linear(96 * (height // SIDE) * (width // SIDE), WIDTH)
        self.last = nn.Linear(WIDTH, classes) if classes else nn.Identity()
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer after its ReLU, (n, 84), not standardised."""
        images = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return F.relu(self.penultimate(self.convolutions(images).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the classes, (n, classes)."""
        logits: Tensor = self.last(self.features(images))
        return logits


def _convolution(width_in: int, width_out: int, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width_in, width_out, size, padding=size // 2, bias=False),
        nn.MaxPool2d(2),  # first, for a quarter of the work below
        nn.BatchNorm2d(width_out),
        nn.ReLU(),
    ]
