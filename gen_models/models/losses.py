"""The objectives as pure functions of tensors, on logits (never a sigmoid and then a log).

GAN: Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1 and, for the generator, the
non-saturating form of section 3; the other losses name their papers. VAE: Kingma & Welling 2014,
"Auto-Encoding Variational Bayes", equation 3 and appendix B; what goes further, and flow matching,
name their papers.
"""

from collections.abc import Callable
from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor

GAN_LOSSES = ("nonsaturating", "hinge", "lsgan", "wgan_gp", "relativistic")
VAE_LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "gaussian")
SERIES = 0.25  # |logit| below which the continuous Bernoulli is a power series


def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = "nonsaturating",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Loss of the discriminator; a scalar, a mean over pairs.

    Args:
        real_logits: Logits of real images, any shape.
        fake_logits: Logits of generated images, the same shape.
        loss: "nonsaturating": binary cross-entropy, real = 1 and fake = 0, in nats. "hinge": Lim &
            Ye 2017. "lsgan": Mao et al. 2017, equation 9, with a = 0, b = c = 1. "wgan_gp":
            Arjovsky et al. 2017, without its gradient penalty. "relativistic": in pairs,
            Jolicoeur-Martineau 2019; R3GAN's (Huang et al. 2024, equation 2).
        label_smoothing: For "nonsaturating", the target of real images is 1 - label_smoothing
            (one-sided: Salimans et al. 2016, section 3.4).

    Raises:
        ValueError: There is no such loss.
    """
    if loss == "nonsaturating":
        real = F.softplus(-real_logits).mean()  # -log sigmoid(logits)
        if label_smoothing > 0:  # BCE to target t is softplus(-logits) + (1 - t) logits
            real = real + label_smoothing * real_logits.mean()
        fake = F.softplus(fake_logits).mean()  # -log(1 - sigmoid(logits))
        return real + fake
    if loss == "hinge":
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
    if loss == "lsgan":
        return 0.5 * ((real_logits - 1).square().mean() + fake_logits.square().mean())
    if loss == "wgan_gp":
        return fake_logits.mean() - real_logits.mean()
    if loss == "relativistic":
        return F.softplus(fake_logits - real_logits).mean()  # -log sigmoid(D(x) - D(G(z)))
    raise ValueError(f"loss must be one of {', '.join(GAN_LOSSES)}, got {loss!r}")


def generator_loss(
    fake_logits: Tensor, real_logits: Tensor | None = None, *, loss: str = "nonsaturating"
) -> Tensor:
    """Loss of the generator; a scalar, a mean over images. Sources: `discriminator_loss`.

    Args:
        fake_logits: Logits of generated images, any shape.
        real_logits: Logits of real images, the same shape; "relativistic" needs them.
        loss: "nonsaturating", -log D(G(z)), in nats; "hinge" and "wgan_gp", -D(G(z)); "lsgan";
            "relativistic".

    Raises:
        ValueError: There is no such loss.
    """
    if loss == "nonsaturating":
        return F.softplus(-fake_logits).mean()  # -log sigmoid(logits)
    if loss in ("hinge", "wgan_gp"):
        return -fake_logits.mean()
    if loss == "lsgan":
        return 0.5 * (fake_logits - 1).square().mean()
    if loss == "relativistic":
        assert real_logits is not None
        return F.softplus(real_logits - fake_logits).mean()
    raise ValueError(f"loss must be one of {', '.join(GAN_LOSSES)}, got {loss!r}")


def squared_gradients(logits: Tensor, images: Tensor) -> Tensor:
    """|d logit / d image|^2 of each image, (n,), through which gradients pass.

    R1 and R2 (Mescheder et al. 2018, equation 9) are half a weight times their mean over real and
    over generated images.

    Args:
        logits: (n, 1), each computed from its own image alone.
        images: (n, p), which require gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def slope_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(|d logit / d image| - 1)^2, a mean over images between real and generated ones.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3. Arguments as
    `squared_gradients`.
    """
    norms = (squared_gradients(logits, images) + 1e-12).sqrt()  # a root's slope at 0 is infinite
    return (norms - 1).square().mean()


def bernoulli_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(targets | z) of independent Bernoulli pixels, for the training of a VAE.

    Everything else uses `log_pixels`, which is faster but rounds differently: with it, every seed
    would train to other weights than it has in the study.

    Args:
        logits: (n, ...) logits of the pixels.
        targets: (n, ...) pixels in [0, 1].

    Returns:
        (n,) nats per image, summed over pixels.
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss.flatten(1).sum(1)


def log_pixels(
    logits: Tensor, pixels: Tensor, *, likelihood: str, logvar: Tensor | None = None
) -> Tensor:
    """Log p(x | z) of independent pixels, (..., n) nats, from (..., n, p) logits and (n, p) pixels.

    Args:
        logits: The decoder's output.
        pixels: In [0, 1].
        likelihood: "bernoulli", on grey pixels a cross-entropy; "continuous_bernoulli", a density
            on [0, 1] (Loaiza-Ganem & Cunningham 2019, equation 5); "gaussian", a density whose
            mean is the sigmoid of the logits.
        logvar: For "gaussian": the logarithm of the variance of all pixels, a scalar.
    """
    if likelihood == "gaussian":
        assert logvar is not None
        squared = (pixels - logits.sigmoid()).square().sum(-1)
        return -0.5 * (squared * (-logvar).exp() + pixels.shape[-1] * (logvar + log(2 * pi)))
    # x log sigmoid(l) + (1 - x) log(1 - sigmoid(l)); three times faster than torch's BCE
    total = torch.einsum("...np,np->...n", logits, pixels) - F.softplus(logits).sum(-1)
    if likelihood == "continuous_bernoulli":
        total = total + continuous_bernoulli_constant(logits).sum(-1)
    return total


def continuous_bernoulli_constant(logits: Tensor) -> Tensor:
    """Log C of the continuous Bernoulli, for each logit l: log(2 artanh(1 - 2s) / (1 - 2s)).

    Loaiza-Ganem & Cunningham 2019, equation 6; s = sigmoid(l), so that C = l / tanh(l / 2), whose
    slope at 0 is a difference of infinities: there, its power series.
    """
    small = logits.abs() < SERIES
    square = logits.square()
    series = log(2) + square * (1 / 12 - square * (7 / 1440 - square * (31 / 90720)))
    size = torch.where(small, 1, logits).abs()
    return torch.where(small, series, size.log() - (size / 2).tanh().log())


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """Mean of the continuous Bernoulli, in (0, 1): s / (2s - 1) + 1 / (2 artanh(1 - 2s)).

    Equation 8 there; 1/2 + coth(l / 2) / 2 - 1 / l, and a power series near 0.
    """
    small = logits.abs() < SERIES
    square = logits.square()
    series = 0.5 + logits * (1 / 12 - square * (1 / 720 - square / 30240))
    far = torch.where(small, 1, logits)
    return torch.where(small, series, 0.5 + 0.5 / (far / 2).tanh() - 1 / far)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, diag exp logvar) || N(0, I)), in nats.

    Args:
        mu: (n, latent_dim) means.
        logvar: (n, latent_dim) logarithms of the variances.

    Returns:
        (n, latent_dim), one figure for each latent: sum over dim 1 for the KL of an image.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


def free_bits_penalty(kl: Tensor, global_kl: Tensor, free: float) -> Tensor:
    """Sum over latents of max(free, KL), in nats; a scalar.

    Kingma et al. 2016, "Improving Variational Inference with Inverse Autoregressive Flow",
    equation 15, each latent a group of its own.

    Args:
        kl: (latent_dim,) means over this process's share of the batch.
        global_kl: (latent_dim,) means over the whole batch, which decide what counts.
        free: Nats per latent.
    """
    return torch.where(global_kl > free, kl, free).sum()


def flow_matching_loss(
    velocity: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    z: Tensor,
    t: Tensor,
    columns: Tensor,
) -> Tensor:
    """Mean squared error of a pixel where velocities lead, on straight paths from noise to images.

    Lipman et al. 2023, "Flow Matching for Generative Modeling", equation 23 with sigma_min = 0,
    weighted with (1 - t)^2: whoever keeps a velocity v from time t on is at x_t + (1 - t) v in the
    end, and this is the error there.

    Args:
        velocity: Network of (x_t, t, columns), whose target is x - z.
        x: Images, (n, d).
        z: Noise, (n, d).
        t: Times in [0, 1], (n,).
        columns: The columns of the images' labels, (n, k).
    """
    share = t[:, None]
    x_t = (1 - share) * z + share * x
    end = x_t + (1 - share) * velocity(x_t, t, columns).float()
    return F.mse_loss(end, x)


def importance_weighted_loss(log_weights: Tensor) -> Tensor:
    """-log of the mean of k weights p(x, z) / q(z | x), (n,) nats, from their logs, (k, n).

    Burda et al. 2016, "Importance Weighted Autoencoders", equation 8.
    """
    return log(len(log_weights)) - log_weights.logsumexp(0)


def posterior_sample(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Z, (..., n, latent_dim), of q(z | x), as `encode` gives it, from noise, (..., n, d).

    Columns without a log-variance stay as they are.
    """
    width = logvar.shape[-1]
    drawn = mu[..., :width] + (0.5 * logvar).exp() * noise
    return torch.cat([drawn, mu[..., width:].expand(*drawn.shape[:-1], -1)], -1)


def log_normal(noise: Tensor, logvar: Tensor) -> Tensor:
    """Log density of N(mu, diag exp logvar) at mu + exp(logvar / 2) noise, in nats.

    Args:
        noise: (..., d).
        logvar: A shape that broadcasts with it.

    Returns:
        (...), summed over the last dimension.
    """
    return -0.5 * (noise.square() + logvar + log(2 * pi)).sum(-1)


def log_mixture(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Log density of K equally likely Gaussians, (...) nats, from z, (..., d).

    The squares are multiplied out, in double precision, so that no (..., K, d) is made.

    Args:
        z: (..., d).
        mu: (K, d) means.
        logvar: (K, d) logarithms of the variances.
    """
    x, mean, precision = z.double(), mu.double(), (-logvar.double()).exp()
    squared = (
        x.square() @ precision.T
        - 2 * x @ (mean * precision).T
        + (mean.square() * precision + logvar + log(2 * pi)).sum(1)
    )  # (..., K)
    return ((-0.5 * squared).logsumexp(-1) - log(len(mu))).to(z.dtype)
