"""Another way to draw the latents of a model that is trained: from those that its encoder uses.

Ex-post density estimation: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders",
section 4. The codes of real images fill a small part of the prior's space; what a decoder makes of
the rest is no digit.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gen_models.models.interface import Encoder, GenerativeModel
from gen_models.models.networks import with_labels


class WithSampler(Encoder):
    """An encoder's model whose z comes from mixtures of Gaussians; all else is the model's.

    A conditional model has a mixture a class, and the label's columns follow; any other has one
    mixture (c = 1).

    Args:
        model: It stays as it is.
        name: What metrics and pictures call the sampler: "normal", "gmm-20".
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
            noise_dim=model.noise_dim, conditional=model.conditional, prior_kind="mixture"
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
            known = torch.zeros(n, dtype=torch.int64, device=self.means.device)
        elif labels is None:
            known = torch.randint(classes, (n,), generator=generator, device=device)
        else:
            known = labels
        known = known.to(self.means.device)
        component = torch.searchsorted(self.weights.cumsum(1)[known], share).squeeze(1)
        component.clamp_(max=components - 1)  # a sum may end just below 1
        z = self.means[known, component]  # (n, d)
        for index in torch.unique(known * components + component):
            row, column = divmod(int(index), components)
            chosen = (known == row) & (component == column)
            z[chosen] += noise[chosen] @ self.factors[row, column].T
        return z if classes == 1 else with_labels(z, known)

    def decode(self, z: Tensor) -> Tensor:
        """The model's images, (n, 1, 28, 28) in [0, 1], from z, (n, latent_dim)."""
        return self.model.decode(z)

    def sampling_weights(self) -> Iterable[nn.Parameter]:
        """The model's."""
        return self.model.sampling_weights()

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The model's mean and log-variance of q(z | x)."""
        return self.model.encode(images, labels)


def without_sampler(model: GenerativeModel) -> GenerativeModel:
    """The trained model itself, whose prior is its own."""
    return model.model if isinstance(model, WithSampler) else model
