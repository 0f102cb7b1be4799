"""The networks of both models: multi-layer perceptrons, or convolutions as InfoGAN's for MNIST.

All map flat tensors, so that a model need not know which it has: pixels are (n, 784), with the
label of a conditional model as ten more columns.
Chen et al. 2016, "InfoGAN", appendix C.1, after DCGAN (Radford et al. 2016): strided convolutions
down, transposed ones up, and a wide linear layer next to them. Their batch normalisation mixes the
images of a batch, so group normalisation (Wu & He 2018) stands in its place, and none in a
discriminator, whose gradient penalty is of each image alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gen_models.checks import check_choice, check_dims, check_whole
from gen_models.data.loader import IMAGE_SIZE
from gen_models.models.layers import (
    ACTIVATIONS,
    INITS,
    PIXELS,
    Activation,
    Dropout,
    linear_layers,
)

NETWORKS = ("mlp", "conv")
CLASSES = 10
GROUPS = 4  # of the normalisation
DENSE = 16  # units of the linear layer between, for each channel of `width`
SMALL = IMAGE_SIZE // 4  # side of the smallest feature map


def check_network(network: str, width: int, activation: str, init: str) -> None:
    """Raise ValueError unless these options describe a network."""
    check_choice("network", network, NETWORKS)
    check_choice("activation", activation, list(ACTIVATIONS))
    if check_whole("width", width, 1) % GROUPS:
        raise ValueError(f"width must be a multiple of {GROUPS}, got {width}")
    if check_choice("init", init, INITS) != "torch" and network == "conv":
        raise ValueError(
            f"init must be torch with network=conv, got {init}: only mlp takes another"
        )


def check_mirrored(
    names: tuple[str, str], network: str, first: Sequence[int] | None, second: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Hidden widths of two networks; the second mirrors the first if it has none of its own.

    Raises:
        ValueError: They are not widths, or the network takes none.
    """
    if network == "conv":
        for name, dims in zip(names, (first, second), strict=True):
            if dims is not None:
                raise ValueError(f"{name} must be null with network=conv, whose size is its width")
        return [], []
    widths = check_dims(names[0], first)  # type: ignore[arg-type]
    return widths, check_dims(names[1], widths[::-1] if second is None else second)


class PixelPlanes(nn.Module):
    """Flat pixels, (n, 784 + c), as an image with a plane for each further column.

    Returns (n, 1 + c, 28, 28): the planes of a label are constant, one of them 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The image and its planes."""
        image = x[:, :PIXELS].reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
        if x.shape[1] == PIXELS:
            return image
        planes = x[:, PIXELS:, None, None].expand(-1, -1, IMAGE_SIZE, IMAGE_SIZE)
        return torch.cat([image, planes], 1)


def conv_down(
    outputs: int,
    *,
    width: int,
    activation: str,
    classes: int = 0,
    dropout: float = 0.0,
    normalised: bool = False,
) -> nn.Sequential:
    """From (n, 784 + classes) to (n, outputs): 28 x 28 to 14 x 14 to 7 x 7, then linear layers.

    Args:
        outputs: Width of the last linear layer.
        width: Channels of the first convolution; the second has twice as many, and the linear
            layer after them 16 times as many units.
        activation: A key of `layers.ACTIVATIONS`.
        classes: Columns of a label.
        dropout: Share of units before the last linear layer.
        normalised: Group normalisation after the second convolution.
    """
    return nn.Sequential(
        PixelPlanes(),
        nn.Conv2d(1 + classes, width, 4, stride=2, padding=1),  # (n, w, 14, 14)
        Activation(activation),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),  # (n, 2w, 7, 7)
        *([nn.GroupNorm(GROUPS, 2 * width)] if normalised else []),
        Activation(activation),
        nn.Flatten(),
        nn.Linear(2 * width * SMALL**2, DENSE * width),
        Activation(activation),
        *([Dropout(dropout)] if dropout > 0 else []),
        nn.Linear(DENSE * width, outputs),
    )


def conv_up(inputs: int, *, width: int, activation: str) -> nn.Sequential:
    """From (n, inputs) to (n, 784): linear layers, 7 x 7 to 14 x 14 to 28 x 28."""
    return nn.Sequential(
        nn.Linear(inputs, DENSE * width),
        Activation(activation),
        nn.Linear(DENSE * width, 2 * width * SMALL**2),
        nn.Unflatten(1, (2 * width, SMALL, SMALL)),
        nn.GroupNorm(GROUPS, 2 * width),
        Activation(activation),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # (n, w, 14, 14)
        nn.GroupNorm(GROUPS, width),
        Activation(activation),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),  # (n, 1, 28, 28)
        nn.Flatten(),
    )


def normalise_spectrally(network: nn.Sequential) -> None:
    """Give every layer spectral normalisation (Miyato et al. 2018)."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


class LinearVAE(nn.Module):
    """Encoder `enc1..` and decoder `dec1..` of linear layers, as the report prints them.

    The activation is applied as a function, so that it does not show as a submodule.
    """

    def __init__(
        self,
        latent_dim: int,
        encoder_dims: Sequence[int],
        decoder_dims: Sequence[int],
        activation: str,
        classes: int = 0,
        init: str = "torch",
    ) -> None:
        super().__init__()
        encoder_widths = [PIXELS + classes, *encoder_dims, 2 * latent_dim]  # mean, log-variance
        decoder_widths = [latent_dim + classes, *decoder_dims, PIXELS]
        for name, widths in (("enc", encoder_widths), ("dec", decoder_widths)):
            layers = linear_layers(widths, activation=activation, init=init)
            for i, layer in enumerate(layers, start=1):
                self.add_module(f"{name}{i}", layer)
        self.depths = {"enc": len(encoder_dims) + 1, "dec": len(decoder_dims) + 1}
        self.activation = ACTIVATIONS[activation]

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, 784 + classes)."""
        mu, logvar = self._layers("enc", images).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, (..., 784), from (..., latent_dim + classes)."""
        return self._layers("dec", z)

    @property
    def last_bias(self) -> nn.Parameter:
        """The bias of the logits, one for each pixel, (784,)."""
        bias: nn.Parameter = getattr(self, f"dec{self.depths['dec']}").bias
        return bias

    def _layers(self, name: str, x: Tensor) -> Tensor:
        depth = self.depths[name]
        for i in range(1, depth):
            x = self.activation(getattr(self, f"{name}{i}")(x))
        output: Tensor = getattr(self, f"{name}{depth}")(x)
        return output


class ConvVAE(nn.Module):
    """Encoder and decoder of convolutions."""

    def __init__(self, latent_dim: int, width: int, activation: str, classes: int = 0) -> None:
        super().__init__()
        self.encoder = conv_down(
            2 * latent_dim, width=width, activation=activation, classes=classes, normalised=True
        )
        self.decoder = conv_up(latent_dim + classes, width=width, activation=activation)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, 784 + classes)."""
        mu, logvar = self.encoder(images).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, (..., 784), from (..., latent_dim + classes)."""
        logits: Tensor = self.decoder(z.reshape(-1, z.shape[-1]))
        return logits.view(*z.shape[:-1], PIXELS)

    @property
    def last_bias(self) -> nn.Parameter:
        """The bias of the logits, one for all pixels, (1,)."""
        bias: nn.Parameter = self.decoder[-2].bias  # type: ignore[assignment]
        return bias


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Labels (n,) as (n, 10), of the type and the device of `like`."""
    return F.one_hot(labels, CLASSES).to(like)


def with_labels(
    noise: Tensor, labels: Tensor | None, generator: torch.Generator | None = None
) -> Tensor:
    """Latents, (n, d), with the columns of their labels, (n,): (n, d + 10).

    Labels that are not given are drawn.
    """
    if labels is None:
        device = noise.device if generator is None else generator.device
        labels = torch.randint(CLASSES, (len(noise),), generator=generator, device=device)
    return torch.cat([noise, one_hot(labels.to(noise.device), noise)], 1)


def label_columns(z: Tensor) -> Tensor:
    """Z, (..., d + 10), with the largest of the last ten columns 1 and the others 0.

    So no search or line through the latent space leaves the labels.
    """
    digit = F.one_hot(z[..., -CLASSES:].argmax(-1), CLASSES).to(z)
    return torch.cat([z[..., :-CLASSES], digit], -1)
