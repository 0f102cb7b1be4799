"""Another way to draw the latents of a model that is trained: from those that its encoder uses.

Ex-post density estimation: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders",
section 4. The codes of real images fill a small part of the prior's space; what a decoder makes of
the rest is no such image.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gen_models.models.interface import Density, Encoder, GenerativeModel
from gen_models.models.networks import with_labels


class WithSampler(Encoder):
    """A model with an encoder whose z is drawn from mixtures of Gaussians instead of its prior.

    A conditional model has a mixture a class, and the label's columns follow; any other has one
    mixture (c = 1).

    Args:
        model: The trained model, which is not changed.
        name: Name of the sampler in metrics and pictures: "normal", "gmm-20".
        weights: (c, k), which sum to 1.
        means: (c, k, d).
        factors: (c, k, d, d), lower Cholesky factors of the covariances.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(
        self, model: Encoder, name: str, weights: Tensor, means: Tensor, factors: Tensor
    ) -> None:
        super().__init__(
            noise_dim=model.noise_dim,
            conditional=model.conditional,
            prior_kind="mixture",
            image_shape=model.image_shape,
            classes=model.classes,
        )
        self.model = model
        self.name = name
        self.register_buffer("weights", weights)
        self.register_buffer("means", means)
        self.register_buffer("factors", factors)

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z from the mixtures, (n, latent_dim); labels that are not given are drawn too."""
        classes, components, width = self.means.shape
        device = generator.device if generator is not None else self.means.device
        noise = torch.randn(n, width, generator=generator, device=device).to(self.means)
        share = torch.rand(n, 1, generator=generator, device=device).to(self.means)
        if classes == 1:
            mixture = torch.zeros(n, dtype=torch.int64, device=self.means.device)
        elif labels is None:
            mixture = torch.randint(classes, (n,), generator=generator, device=device)
        else:
            mixture = labels
        mixture = mixture.to(self.means.device)
        component = torch.searchsorted(self.weights.cumsum(1)[mixture], share).squeeze(1)
        component.clamp_(max=components - 1)  # a sum may end just below 1
        z = self.means[mixture, component]  # (n, d)
        for index in torch.unique(mixture * components + component):
            row, column = divmod(int(index), components)
            members = (mixture == row) & (component == column)
            z[members] += noise[members] @ self.factors[row, column].T
        return z if classes == 1 else with_labels(z, mixture, self.classes)

    def decode(self, z: Tensor) -> Tensor:
        """The model's images, (n, c, h, w) in [0, 1], from z, (n, latent_dim)."""
        return self.model.decode(z)

    def decoding_weights(self) -> Iterable[nn.Parameter]:
        """The weights of the model's decoder; the sampler has none that are trained."""
        return self.model.decoding_weights()

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The model's mean and log-variance of q(z | x)."""
        return self.model.encode(images, labels)


def no_sampler(model: GenerativeModel) -> str | None:
    """Why no sampler can be fitted to a model, as the end of a sentence; None: one can be."""
    if not isinstance(model, Encoder):
        return "has no encoder"
    if isinstance(model, Density):
        return "has a z as large as an image"
    return None


def without_sampler(model: GenerativeModel) -> GenerativeModel:
    """The trained model itself, which draws from the prior that it was trained with."""
    return model.model if isinstance(model, WithSampler) else model
