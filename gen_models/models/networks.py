"""The networks of both models: multi-layer perceptrons, or convolutions as InfoGAN's for MNIST.

All map flat tensors, so that a model need not know which it has: pixels are (n, c h w), with the
label of a conditional model as one more column a class. The sizes in comments are those of MNIST.
Chen et al. 2016, "InfoGAN", appendix C.1, after DCGAN (Radford et al. 2016): strided convolutions
down, transposed ones up, and a wide linear layer next to them. Their batch normalisation mixes the
images of a batch, so group normalisation (Wu & He 2018) stands in its place, and none in a
discriminator, whose gradient penalty is of each image alone.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gen_models.checks import check_choice, check_dims, check_whole
from gen_models.errors import UserError
from gen_models.models.layers import ACTIVATIONS, INITS, Dropout, linear_layers

NETWORKS = ("mlp", "conv")
GROUPS = 4  # of the normalisation
DENSE = 16  # units of the linear layer between, for each channel of `width`

Shape = tuple[int, int, int]  # of an image: channels, height, width


def check_network(
    network: str, width: int, activation: str, init: str, known: Sequence[str] = NETWORKS
) -> None:
    """Raise ValueError unless these options describe one of the networks that are known."""
    check_choice("network", network, known)
    check_choice("activation", activation, list(ACTIVATIONS))
    if check_whole("width", width, 1) % GROUPS:
        raise ValueError(f"width must be a multiple of {GROUPS}, got {width}")
    if check_choice("init", init, INITS) != "torch" and network != "mlp":
        raise ValueError(
            f"init must be torch with network={network}, got {init}: only mlp takes another"
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
    """Flat pixels, (n, c h w + k), as an image with a plane for each further column.

    Returns (n, c + k, h, w): the planes of a label are constant, one of them 1.
    """

    def __init__(self, image_shape: Shape) -> None:
        super().__init__()
        self.image_shape = image_shape

    def forward(self, x: Tensor) -> Tensor:
        """The image and its planes."""
        pixels = prod(self.image_shape)
        image = x[:, :pixels].reshape(-1, *self.image_shape)
        if x.shape[1] == pixels:
            return image
        planes = x[:, pixels:, None, None].expand(-1, -1, *self.image_shape[1:])
        return torch.cat([image, planes], 1)


def conv_down(
    image_shape: Shape,
    outputs: int,
    *,
    width: int,
    activation: str,
    classes: int = 0,
    dropout: float = 0.0,
    normalised: bool = False,
) -> nn.Sequential:
    """From (n, c h w + classes) to (n, outputs): two strided convolutions, then linear layers.

    Args:
        image_shape: (c, h, w), h and w multiples of 4.
        outputs: Width of the last linear layer.
        width: Channels of the first convolution; the second has twice as many, and the linear
            layer after them 16 times as many units.
        activation: A key of `layers.ACTIVATIONS`.
        classes: Columns of a label.
        dropout: Share of units before the last linear layer.
        normalised: Group normalisation after the second convolution.
    """
    channels, height, columns = image_shape
    return nn.Sequential(
        PixelPlanes(image_shape),
        nn.Conv2d(channels + classes, width, 4, stride=2, padding=1),  # (n, w, 14, 14)
        ACTIVATIONS[activation](),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),  # (n, 2w, 7, 7)
        *([nn.GroupNorm(GROUPS, 2 * width)] if normalised else []),
        ACTIVATIONS[activation](),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (columns // 4), DENSE * width),
        ACTIVATIONS[activation](),
        *([Dropout(dropout)] if dropout > 0 else []),
        nn.Linear(DENSE * width, outputs),
    )


def conv_up(image_shape: Shape, inputs: int, *, width: int, activation: str) -> nn.Sequential:
    """From (n, inputs) to (n, c h w): linear layers, then two transposed convolutions."""
    channels, height, columns = image_shape
    small = 2 * width, height // 4, columns // 4
    return nn.Sequential(
        nn.Linear(inputs, DENSE * width),
        ACTIVATIONS[activation](),
        nn.Linear(DENSE * width, prod(small)),
        nn.Unflatten(1, small),
        nn.GroupNorm(GROUPS, 2 * width),
        ACTIVATIONS[activation](),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # (n, w, 14, 14)
        nn.GroupNorm(GROUPS, width),
        ACTIVATIONS[activation](),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),  # (n, 1, 28, 28)
        nn.Flatten(),
    )


def normalise_spectrally(network: nn.Sequential) -> None:
    """Give every layer spectral normalisation (Miyato et al. 2018)."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


class LinearVAE(nn.Module):
    """Encoder `enc1..` and decoder `dec1..` of linear layers, as the report prints them.

    The activation is kept as a function, so that it does not show as a submodule.
    """

    def __init__(
        self,
        pixels: int,
        latent_dim: int,
        encoder_dims: Sequence[int],
        decoder_dims: Sequence[int],
        activation: str,
        classes: int = 0,
        init: str = "torch",
    ) -> None:
        super().__init__()
        encoder_widths = [pixels + classes, *encoder_dims, 2 * latent_dim]  # mean, log-variance
        decoder_widths = [latent_dim + classes, *decoder_dims, pixels]
        for name, widths in (("enc", encoder_widths), ("dec", decoder_widths)):
            layers = linear_layers(widths, activation=activation, init=init)
            for i, layer in enumerate(layers, start=1):
                self.add_module(f"{name}{i}", layer)
        self.depths = {"enc": len(encoder_dims) + 1, "dec": len(decoder_dims) + 1}
        self.activation = ACTIVATIONS[activation]().forward

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, c h w + classes)."""
        mu, logvar = self._layers("enc", images).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, (..., c h w), from (..., latent_dim + classes)."""
        return self._layers("dec", z)

    @property
    def last_bias(self) -> nn.Parameter:
        """The bias of the logits, one for each pixel of each channel, (c h w,)."""
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

    def __init__(
        self, image_shape: Shape, latent_dim: int, width: int, activation: str, classes: int = 0
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"width": width, "activation": activation}
        self.encoder = conv_down(
            image_shape, 2 * latent_dim, classes=classes, normalised=True, **options
        )
        self.decoder = conv_up(image_shape, latent_dim + classes, **options)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, c h w + classes)."""
        mu, logvar = self.encoder(images).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, (..., c h w), from (..., latent_dim + classes)."""
        logits: Tensor = self.decoder(z.reshape(-1, z.shape[-1]))
        return logits.view(*z.shape[:-1], logits.shape[-1])

    @property
    def last_bias(self) -> nn.Parameter:
        """The bias of the logits, one for each channel, (c,)."""
        bias: nn.Parameter = self.decoder[-2].bias  # type: ignore[assignment]
        return bias


def require_labels(labels: Tensor | None) -> Tensor:
    """Return the labels, which a conditional model needs; raise UserError if there are none."""
    if labels is None:
        raise UserError(
            "a conditional model needs labels, and this data set has none: pick another data set, "
            "or a model that is not conditional"
        )
    return labels


def with_labels(
    noise: Tensor, labels: Tensor | None, classes: int, generator: torch.Generator | None = None
) -> Tensor:
    """Latents, (n, d), with the columns of their labels, (n,): (n, d + classes).

    Labels that are not given are drawn; without classes there is none.
    """
    if classes == 0:
        return noise
    if labels is None:
        device = noise.device if generator is None else generator.device
        labels = torch.randint(classes, (len(noise),), generator=generator, device=device)
    return torch.cat([noise, F.one_hot(labels.to(noise.device), classes).to(noise)], 1)


def label_columns(z: Tensor, classes: int) -> Tensor:
    """Z, (..., d + classes), with the largest of the last `classes` columns 1 and the others 0.

    So no search or line through the latent space leaves the labels.
    """
    if classes == 0:
        return z
    label = F.one_hot(z[..., -classes:].argmax(-1), classes).to(z)
    return torch.cat([z[..., :-classes], label], -1)
