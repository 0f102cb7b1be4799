"""What everything else knows of a model: three Protocols, and what is done with any model.

A third model is one more file here and one YAML: nothing asks for a class or its name.
Labels are the classes of the images, (n,) int64: a model that is not conditional ignores them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.data.loader import Batch
from gen_models.errors import UserError
from gen_models.models.networks import CLASSES
from gen_models.seeding import generator

CHUNK = 1000  # images decoded or encoded at once, so that memory stays bounded


@runtime_checkable
class GenerativeModel(Protocol):
    """A LightningModule that makes images from latents.

    Attributes:
        latent_dim: Width of z. A conditional model's z carries the label too, so that `decode`
            needs nothing else; `prior` then appends it, one-hot, as the last ten columns.
    """

    latent_dim: int

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z, (n, latent_dim); from the global generator if none is given.

        A conditional model without labels draws them too.
        """

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, 1, 28, 28) in [0, 1] from z, (n, latent_dim)."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """`decode(prior(...))`: n new images, (n, 1, 28, 28) in [0, 1]."""


@runtime_checkable
class Encoder(GenerativeModel, Protocol):
    """A model that can say which latents an image has."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (n, latent_dim), from (n, 1, 28, 28).

        A conditional model's mean ends with the label's columns, so that `decode` takes it; they
        are known, and have no log-variance.
        """


@runtime_checkable
class Likelihood(Encoder, Protocol):
    """An encoder whose decoder is a distribution of the pixels.

    Attributes:
        binarize: The pixels are drawn from Bernoulli(grey) when it trains. Without, the sum is a
            cross-entropy of grey pixels and no likelihood, or a density.
        density: The sum is a log density of grey pixels.
    """

    binarize: bool
    density: bool

    def log_likelihood(self, z: Tensor, images: Tensor) -> Tensor:
        """Log p(x | z) in nats, (..., n), from z, (..., n, latent_dim), and (n, 1, 28, 28)."""

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (...), from z, (..., latent_dim); of a label's columns, nothing."""

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) in nats, exact, (n,), or by a sample of q.

        Args:
            mu: (n, latent_dim), as `encode` gives it.
            logvar: As `encode` gives it.
            z: (..., n, latent_dim), of q(z | x); an estimate by the sample is (..., n).
        """


@runtime_checkable
class Periodic(Protocol):
    """A model whose training batches are not all alike, as a GAN's with several steps of D.

    Attributes:
        period: Batches after which they repeat.
    """

    period: int


def labels_of(batch: Batch) -> Tensor:
    """The labels of a batch, for a conditional model.

    Raises:
        UserError: It has none.
    """
    if batch.labels is None:
        raise UserError(
            "a conditional model needs labels, and this data set has none: pick another data set, "
            "or a model that is not conditional"
        )
    return batch.labels


@contextmanager
def eval_mode(model: GenerativeModel) -> Iterator[None]:
    """The model in eval mode; afterwards each of its modules is as it was before."""
    assert isinstance(model, nn.Module)
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


@torch.no_grad()
def draw(
    model: GenerativeModel,
    count: int,
    noise: Callable[[int], torch.Generator],
    labels: Tensor | None = None,
) -> Tensor:
    """New images, (count, 1, 28, 28) in [0, 1]; a longer draw begins with a shorter one's images.

    Args:
        model: In eval mode.
        count: How many.
        noise: The generator of each chunk, by the index of its first image.
        labels: (count,) int64, what a conditional model shall draw; without, it draws them too.
    """
    chunks = []
    for start in range(0, count, CHUNK):
        wanted = None
        if labels is not None:
            wanted = labels[start : start + CHUNK]
            wanted = F.pad(wanted, (0, CHUNK - len(wanted)))  # the noise is that of a whole chunk
        chunks.append(model.sample(CHUNK, noise(start), wanted)[: count - start].float())
    return torch.cat(chunks)


@torch.no_grad()
def draw_fixed(model: GenerativeModel, count: int) -> Tensor:
    """The images of every grid, (count, 1, 28, 28) in [0, 1] on the CPU: their noise never changes.

    It is drawn on the CPU, whose stream differs from a GPU's.
    """
    with eval_mode(model):
        return model.sample(count, generator("pictures")).float().cpu()


@torch.no_grad()
def noise_width(model: GenerativeModel) -> int:
    """Columns of z that are noise: all, but for the label's at the end of a conditional model's."""
    every = torch.arange(CLASSES)
    last = model.prior(CLASSES, generator("labels"), every)[:, -CLASSES:]
    return model.latent_dim - CLASSES * torch.equal(last.cpu(), torch.eye(CLASSES))


def is_conditional(model: GenerativeModel) -> bool:
    """Whether the model draws the class that is asked: its z then ends with the labels."""
    return noise_width(model) < model.latent_dim


@torch.no_grad()
def latent_means(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The encoder's means without a label's columns, (n, d), of (n, 1, 28, 28) images."""
    return encode_means(model, images, labels)[:, : noise_width(model)]


@torch.no_grad()
def encode_means(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The encoder's means, (n, latent_dim), of (n, 1, 28, 28) images."""
    if labels is None:
        return torch.cat([model.encode(chunk)[0] for chunk in images.split(CHUNK)])
    pairs = zip(images.split(CHUNK), labels.split(CHUNK), strict=True)
    return torch.cat([model.encode(chunk, known)[0] for chunk, known in pairs])


@torch.no_grad()
def reconstruct(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Decode the encoder's means of (n, 1, 28, 28) images, in eval mode; the same shape."""
    with eval_mode(model):
        means = encode_means(model, images, labels)
        return torch.cat([model.decode(chunk) for chunk in means.split(CHUNK)])
