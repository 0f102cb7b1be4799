"""Likelihoods of images: bounds for a `Likelihood`, in nats an image; bits of a `Density`.

The bounds are on log p(x) of a latent-variable model with a diagonal Gaussian encoder. ELBO: Kingma
& Welling 2014, equation 3. Importance weighted bound and active units: Burda et al. 2016,
"Importance Weighted Autoencoders", equation 8 and section 5. A label is known, so it adds nothing
to a divergence. Bits per dimension: Theis et al. 2016, "A Note on the Evaluation of Generative
Models", section 3.1.
"""

from collections.abc import Iterator
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.models.interface import Density, Likelihood
from gen_models.models.losses import log_normal, posterior_sample
from gen_models.seeding import generator as own_generator

IMAGES = 100  # encoded at once
DENSITIES = 250  # images whose density is computed at once
CHUNK_VALUES = 2**20  # values of x decoded at once: 4 MiB, so that they stay in the cache
ACTIVE_ABOVE = 0.01  # variance of a posterior mean over images, Burda et al. 2016


class NegativeELBO(NamedTuple):
    """-ELBO and its two terms, in nats, one value for each image, (n,) each."""

    loss: Tensor  # recon + kl
    recon: Tensor  # E_q[-log p(x | z)]
    kl: Tensor  # KL(q(z | x) || p(z)): exact, or by samples where the prior has no closed form


def binarised(images: Tensor, *, seed: int = 0) -> Tensor:
    """Each pixel drawn from Bernoulli(grey), the same for a seed on every device.

    Dynamic binarisation (Salakhutdinov & Murray 2008) with one fixed draw for evaluation.

    Args:
        images: (n, ...) in [0, 1].
        seed: Seed of the draw.

    Returns:
        (n, ...) float, 0 or 1.
    """
    return torch.bernoulli(images.cpu(), generator=own_generator("binarise", seed)).to(images)


@torch.no_grad()
def negative_elbo(
    model: Likelihood,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    generator: torch.Generator,
    samples: int = 1,
) -> NegativeELBO:
    """-ELBO of each image, from samples of q(z | x); a KL with a closed form is exact.

    Args:
        model: In eval mode.
        images: (n, ...).
        labels: (n,) int64, their classes, for a conditional model.
        generator: Generator of the samples, on the CPU.
        samples: Samples of z an image; one is enough for a mean over many images.
    """
    parts = []
    for chunk, mu, logvar in _encoded(model, images, labels):
        z, _ = _draw(mu, logvar, samples, generator)
        likelihoods = model.log_likelihood(z, chunk)  # (samples, n)
        recon = -likelihoods.mean(0)
        kl = model.kl(mu, logvar, z).expand_as(likelihoods).mean(0)
        parts.append((recon + kl, recon, kl))
    return NegativeELBO(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def importance_weighted_bound(
    model: Likelihood,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Lower bound on log p(x) of each image, log 1/K sum_k p(x, z_k) / q(z_k | x).

    Burda et al. 2016, equation 8. K = 1 is the ELBO in expectation; the bound rises with K, to
    log p(x). The samples are decoded in chunks; memory does not grow with n or K.

    Args:
        model: In eval mode; q(z | x), its encoder's, is the proposal.
        images: (n, ...).
        labels: (n,) int64, their classes, for a conditional model.
        samples: K.
        generator: Generator of the samples, on the CPU.

    Returns:
        (n,) nats, float64.
    """
    bounds = []
    for chunk, mu, logvar in _encoded(model, images, labels):
        at_once = max(1, CHUNK_VALUES // max(1, chunk.numel()))
        sums = []
        for start in range(0, samples, at_once):
            z, noise = _draw(mu, logvar, min(at_once, samples - start), generator)
            log_ratio = model.log_prior(z) - log_normal(noise, logvar)  # (k, n)
            weights = model.log_likelihood(z, chunk).double() + log_ratio.double()
            sums.append(weights.logsumexp(0))
        bounds.append(torch.stack(sums).logsumexp(0) - log(samples))
    return torch.cat(bounds)


@torch.no_grad()
def bits_per_dim(
    model: Density,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Bits per pixel and channel of 8-bit images, -log2 p(x) / d, with uniform dequantisation.

    Their mean is an upper bound on the bits that a lossless code from the model takes. If the
    model finds all images equally likely, it is 8.

    Args:
        model: In eval mode.
        images: (n, c, h, w) in [0, 1], whole multiples of 1 / 255.
        labels: (n,) int64, their classes, for a conditional model.
        generator: Generator of the noise within each pixel's interval, on the CPU.

    Returns:
        (n,) float64.
    """
    densities = []
    for start in range(0, len(images), DENSITIES):
        chunk = slice(start, start + DENSITIES)
        own = None if labels is None else labels[chunk]
        densities.append(model.log_density(images[chunk], own, generator=generator))
    return -torch.cat(densities).double() / (model.pixels * log(2))


def active_units(mu: Tensor) -> Tensor:
    """Which latents carry information: Var_x(E[z | x]) > 0.01 (Burda et al. 2016, section 5.2).

    Args:
        mu: (n, d) posterior means of many images, without a label's columns.

    Returns:
        (d,) bool; its sum is the number of active units.
    """
    return mu.var(0) > ACTIVE_ABOVE


def _encoded(
    model: Likelihood, images: Tensor, labels: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Chunks of the images, each with mean and log-variance of q(z | x)."""
    for start in range(0, len(images), IMAGES):
        chunk = slice(start, start + IMAGES)
        own = None if labels is None else labels[chunk]
        yield images[chunk], *model.encode(images[chunk], own)


def _draw(
    mu: Tensor, logvar: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples of q(z | x), (k, n, latent_dim), and the noise in them, (k, n, d)."""
    noise = torch.randn(samples, *logvar.shape, generator=generator).to(mu)
    return posterior_sample(mu, logvar, noise), noise
