"""The objectives as pure functions of tensors, on logits (never a sigmoid and then a log).

GAN: Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1 and, for the generator, the
non-saturating form of section 3. VAE: Kingma & Welling 2014, "Auto-Encoding Variational Bayes",
equation 3 and appendix B.
"""

import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Binary cross-entropy of the discriminator, real = 1 and fake = 0; a scalar, nats per pair.

    Args:
        real_logits: Logits of real images, any shape.
        fake_logits: Logits of generated images, any shape.
        label_smoothing: The target of real images is 1 - label_smoothing (one-sided: Salimans et
            al. 2016, section 3.4).
    """
    real = F.softplus(-real_logits).mean()  # -log sigmoid(logits)
    if label_smoothing > 0:  # BCE to target t is softplus(-logits) + (1 - t) logits
        real = real + label_smoothing * real_logits.mean()
    fake = F.softplus(fake_logits).mean()  # -log(1 - sigmoid(logits))
    return real + fake


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator, -log D(G(z)); a scalar, nats per image."""
    return F.softplus(-fake_logits).mean()  # -log sigmoid(logits)


def bernoulli_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(targets | z) of independent Bernoulli pixels.

    Args:
        logits: (n, ...) logits of the pixels.
        targets: (n, ...) pixels in [0, 1].

    Returns:
        (n,) nats per image, summed over pixels.
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss.flatten(1).sum(1)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, diag exp logvar) || N(0, I)), in nats.

    Args:
        mu: (n, latent_dim) means.
        logvar: (n, latent_dim) logarithms of the variances.

    Returns:
        (n, latent_dim), one figure for each latent: sum over dim 1 for the KL of an image.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)
