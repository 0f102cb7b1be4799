"""The interface of all models, four base classes, and functions that work with any model.

A third model is one more file here and one YAML: nothing else asks for a model's class or name.
Labels are the classes of the images, (n,) int64: a model that is not conditional ignores them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.checks import check_choice, check_shape, check_whole
from gen_models.errors import UserError
from gen_models.models import networks
from gen_models.seeding import generator

CHUNK = 1000  # images decoded or encoded at once, so that memory stays bounded
PRIOR_KINDS = ("normal", "uniform", "mixture")


class GenerativeModel(pl.LightningModule, ABC):
    """A model that makes images from latents z. It declares its facts, so nothing has to guess.

    A run passes `image_shape` and `classes`, which are facts of its data, to the constructor.

    Args:
        noise_dim: Columns of z that are noise.
        conditional: Whether images of a wanted class can be drawn. The label is then part of z, as
            one-hot columns after the noise, so that `decode` needs nothing else.
        prior_kind: The distribution of the noise: "normal", N(0, I); "uniform", U(-1, 1);
            "mixture", any other one, for which the model has a `noise` of its own.
        image_shape: (c, h, w) of the images: c is 1 or 3, h and w are multiples of 4, 8 to 64.
        classes: Number of classes of the images; 0 if they have no labels.

    Attributes:
        pixels: Numbers of an image, c h w.
        label_dim: Columns of the label; 0 if the model is not conditional.
        latent_dim: Columns of z, those of the noise and of the label.
        period: Number of training steps after which their pattern repeats; more than 1 for a GAN
            that does not update G in every step, for example.
        cuda_graphs: Whether a model may launch its steps on one GPU as CUDA graphs, if it can.
        steps: Steps in which `decode` makes an image; None: one pass, or as many as it takes.
        training_only: Names of parts that only training needs; `left_out`: those that it lacks.
    """

    period = 1
    cuda_graphs = True
    steps: int | None = None
    training_only: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        noise_dim: int,
        conditional: bool,
        prior_kind: str,
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.image_shape = check_shape("image_shape", image_shape)
        self.classes = check_whole("classes", classes, 0)
        if conditional and not classes:
            raise ValueError("conditional must be false: the images have no labels (class folders)")
        self.noise_dim = noise_dim
        self.conditional = conditional
        self.prior_kind = check_choice("prior_kind", prior_kind, PRIOR_KINDS)
        self.pixels = prod(self.image_shape)
        self.label_dim = classes * conditional
        self.latent_dim = noise_dim + self.label_dim

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw the noise of z, (n, noise_dim); from the global generator if none is given.

        A model whose `prior_kind` is "mixture" has its own.
        """
        uniform = self.prior_kind == "uniform"
        draw = torch.rand if uniform else torch.randn
        device = self.device if generator is None else generator.device
        noise = draw(n, self.noise_dim, generator=generator, device=device)
        return (2 * noise - 1 if uniform else noise).to(self.device)

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z, (n, latent_dim), as `noise`, and its labels if it has some and none are given."""
        noise = self.noise(n, generator)
        return networks.with_labels(noise, labels, self.label_dim, generator)

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] from z, (n, latent_dim)."""

    @abstractmethod
    def decoding_weights(self) -> Iterable[nn.Parameter]:
        """The weights that `decode` uses: of the generator, or of the decoder."""

    def sampling_weights(self) -> Iterable[nn.Parameter]:
        """The weights on which a new image depends: those of `decode`, and a learned prior's."""
        return self.decoding_weights()

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw n new images, (n, c, h, w) in [0, 1]."""
        return self.decode(self.prior(n, generator, labels))

    def columns_of(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """The columns of labels, (n, label_dim), of the type and the device of `like`, (n, ...).

        Raises:
            UserError: The model is conditional, and there are no labels.
        """
        if not self.conditional:
            return like.new_empty(len(like), 0)
        return F.one_hot(networks.require_labels(labels), self.classes).to(like)


class Encoder(GenerativeModel):
    """A model with an encoder, which maps an image to its latents."""

    @abstractmethod
    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean, (n, latent_dim), and log-variance, (n, noise_dim), of q(z | x).

        The images are (n, c, h, w). A conditional model's mean ends with the label's columns, so
        that `decode` takes it. They are known, and have no log-variance.
        """


class Likelihood(Encoder):
    """An encoder whose decoder is a distribution of the pixels.

    Attributes:
        binarize: Whether pixels are drawn from Bernoulli(grey) while it trains. If not,
            `log_likelihood` is a cross-entropy of grey pixels and no likelihood, or a density.
        density: Whether `log_likelihood` is a log density of grey pixels.
    """

    binarize: bool
    density: bool

    @abstractmethod
    def log_likelihood(self, z: Tensor, images: Tensor) -> Tensor:
        """Log p(x | z) in nats, (..., n), from z, (..., n, latent_dim), and (n, c, h, w)."""

    @abstractmethod
    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (...), from z, (..., latent_dim); of a label's columns, nothing."""

    @abstractmethod
    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) in nats: exact, (n,), or estimated from samples of q, (..., n).

        Args:
            mu: (n, latent_dim), as `encode` gives it.
            logvar: As `encode` gives it.
            z: (..., n, latent_dim), samples of q(z | x).
        """


class Density(Encoder):
    """A model of the density of images, whose z is as large as an image.

    `decode` solves dx/dt = flow(x, t) from noise at t = 0 to an image at t = 1, in `steps` steps
    or, if that is None, in as many as `solver` takes; `encode` solves it backwards, so it finds the
    z from which `decode` makes an image again, as nearly as their steps allow.

    Attributes:
        solver: Name of the method that solves the equation.
    """

    solver: str

    def __init__(
        self, *, conditional: bool, image_shape: Sequence[int] = (1, 28, 28), classes: int = 10
    ) -> None:
        super().__init__(
            noise_dim=prod(check_shape("image_shape", image_shape)),
            conditional=conditional,
            prior_kind="normal",
            image_shape=image_shape,
            classes=classes,
        )

    @abstractmethod
    def flow(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        """The velocity, (n, c h w), of x at the times t.

        Args:
            x: (n, c h w); at t = 1, a pixel of value k / 255 is (k + 0.5) / 128 - 1.
            t: (n,) in [0, 1].
            columns: The columns of the labels, (n, label_dim).
        """

    @abstractmethod
    def log_density(
        self, images: Tensor, labels: Tensor | None = None, *, generator: torch.Generator
    ) -> Tensor:
        """Log p(x) in nats, (n,), of (n, c, h, w) images whose pixels lie in [0, 256].

        They are dequantised: a pixel of value k / 255 is drawn uniformly from [k, k + 1].
        """

    @abstractmethod
    def set_solver(self, solver: str, steps: int | None) -> None:
        """Choose in how many steps `decode` makes an image; ValueError names what is wrong."""


def check_model(model: object, key: str) -> GenerativeModel:
    """Return `model`; raise UserError, naming the option or file `key`, if it is none of ours."""
    if not isinstance(model, GenerativeModel):
        raise UserError(
            f"{key}: {type(model).__name__} is not a model: derive it from GenerativeModel or "
            "Encoder (gen_models/models/interface.py)"
        )
    return model


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
    """New images, (count, c, h, w) in [0, 1]; a longer draw begins with a shorter one's images.

    Args:
        model: In eval mode.
        count: Number of images.
        noise: Maps the index of a chunk's first image to the generator of the chunk.
        labels: (count,) int64, the classes that a conditional model shall draw; if there are none,
            they are drawn too.
    """
    chunks = []
    for start in range(0, count, CHUNK):
        own = None
        if labels is not None:
            own = labels[start : start + CHUNK]
            own = F.pad(own, (0, CHUNK - len(own)))  # the noise is that of a whole chunk
        chunks.append(model.sample(CHUNK, noise(start), own)[: count - start].float())
    return torch.cat(chunks)


@torch.no_grad()
def draw_fixed(model: GenerativeModel, count: int) -> Tensor:
    """The images of every grid, (count, c, h, w) in [0, 1] on the CPU, from noise that is fixed.

    The noise is drawn on the CPU, because a GPU would draw other numbers.
    """
    with eval_mode(model):
        return model.sample(count, generator("pictures")).float().cpu()


@torch.no_grad()
def latent_means(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The encoder's means without a label's columns, (n, d), of (n, c, h, w) images."""
    return encode_means(model, images, labels)[:, : model.noise_dim]


@torch.no_grad()
def encode_means(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The encoder's means, (n, latent_dim), of (n, c, h, w) images."""
    if labels is None:
        return torch.cat([model.encode(chunk)[0] for chunk in images.split(CHUNK)])
    pairs = zip(images.split(CHUNK), labels.split(CHUNK), strict=True)
    return torch.cat([model.encode(chunk, own)[0] for chunk, own in pairs])


@torch.no_grad()
def reconstruct(model: Encoder, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Decode the encoder's means of (n, c, h, w) images, in eval mode; the same shape."""
    with eval_mode(model):
        means = encode_means(model, images, labels)
        return torch.cat([model.decode(chunk) for chunk in means.split(CHUNK)])
