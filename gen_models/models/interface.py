"""What everything else knows of a model: three base classes, and what is done with any model.

A third model is one more file here and one YAML: nothing asks for its own class or its name.
Labels are the classes of the images, (n,) int64: a model that is not conditional ignores them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.checks import check_choice
from gen_models.errors import UserError
from gen_models.models.networks import CLASSES
from gen_models.seeding import generator

CHUNK = 1000  # images decoded or encoded at once, so that memory stays bounded
PRIOR_KINDS = ("normal", "uniform", "mixture")


class GenerativeModel(pl.LightningModule, ABC):
    """A model that makes images from latents z. It declares its facts; nothing finds them out.

    Args:
        noise_dim: Columns of z that are noise.
        conditional: Whether a class can be asked for. The label then stands in z, one-hot, as ten
            columns after the noise, so that `decode` needs nothing else.
        prior_kind: What the noise is drawn from: "normal", N(0, I); "uniform", U(-1, 1);
            "mixture", any other distribution.

    Attributes:
        latent_dim: Columns of z: those of the noise and of the label.
        period: Training batches after which they repeat: more than 1 where they are not all alike,
            as those of a GAN with several steps of D.
        cuda_graphs: Whether a model that can may launch its steps on one GPU as CUDA graphs.
    """

    period = 1
    cuda_graphs = True

    def __init__(self, *, noise_dim: int, conditional: bool, prior_kind: str) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.conditional = conditional
        self.prior_kind = check_choice("prior_kind", prior_kind, PRIOR_KINDS)
        self.latent_dim = noise_dim + CLASSES * conditional

    @abstractmethod
    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z, (n, latent_dim); from the global generator if none is given.

        A conditional model without labels draws them too.
        """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (n, 1, 28, 28) in [0, 1] from z, (n, latent_dim)."""

    @abstractmethod
    def sampling_weights(self) -> Iterable[nn.Parameter]:
        """The weights on which a new image depends: of the generator, or of the decoder."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw n new images, (n, 1, 28, 28) in [0, 1]."""
        return self.decode(self.prior(n, generator, labels))


class Encoder(GenerativeModel):
    """A model that can say which latents an image has."""

    @abstractmethod
    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean, (n, latent_dim), and log-variance, (n, noise_dim), of q(z | x).

        From (n, 1, 28, 28). A conditional model's mean ends with the label's columns, so that
        `decode` takes it; they are known, and have no log-variance.
        """


class Likelihood(Encoder):
    """An encoder whose decoder is a distribution of the pixels.

    Attributes:
        binarize: The pixels are drawn from Bernoulli(grey) when it trains. Without, the sum is a
            cross-entropy of grey pixels and no likelihood, or a density.
        density: The sum is a log density of grey pixels.
    """

    binarize: bool
    density: bool

    @abstractmethod
    def log_likelihood(self, z: Tensor, images: Tensor) -> Tensor:
        """Log p(x | z) in nats, (..., n), from z, (..., n, latent_dim), and (n, 1, 28, 28)."""

    @abstractmethod
    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (...), from z, (..., latent_dim); of a label's columns, nothing."""

    @abstractmethod
    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) in nats, exact, (n,), or by a sample of q.

        Args:
            mu: (n, latent_dim), as `encode` gives it.
            logvar: As `encode` gives it.
            z: (..., n, latent_dim), of q(z | x); an estimate by the sample is (..., n).
        """


def check_model(model: object, key: str) -> GenerativeModel:
    """Return a model that was just built.

    Args:
        model: Any object.
        key: Which option or file names it.

    Raises:
        UserError: It is not one.
    """
    if not isinstance(model, GenerativeModel):
        raise UserError(
            f"{key}: {type(model).__name__} is not a model: derive it from GenerativeModel or "
            "Encoder (gen_models/models/interface.py)"
        )
    return model


def require_labels(labels: Tensor | None) -> Tensor:
    """The labels of images, for a conditional model.

    Raises:
        UserError: There are none.
    """
    if labels is None:
        raise UserError(
            "a conditional model needs labels, and this data set has none: pick another data set, "
            "or a model that is not conditional"
        )
    return labels


@contextmanager
def eval_mode(model: GenerativeModel) -> Iterator[None]:
    """The model in eval mode, its weights without gradients; afterwards all is as it was before."""
    modes = {module: module.training for module in model.modules()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for weight in trained:
            weight.requires_grad_(True)


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
def latent_means(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The encoder's means without a label's columns, (n, d), of (n, 1, 28, 28) images."""
    return encode_means(model, images, labels)[:, : model.noise_dim]


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
