"""Likelihoods of images: bounds for a `Likelihood`, in nats an image; bits of a `Density`.

The bounds are on log p(x) of a latent-variable model with a diagonal Gaussian encoder. ELBO: Kingma
& Welling 2014, equation 3. Importance weighted bound: Burda et al. 2016, "Importance Weighted
Autoencoders", equation 8. A label is known, so it adds nothing to a divergence. Bits per dimension:
Theis et al. 2016, "A Note on the Evaluation of Generative Models", section 3.1.

Models are in eval mode; images are (n, c, h, w), and the labels of a conditional model (n,) int64.
Generators are on the CPU.
"""

from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.models.interface import Density, Likelihood
from gen_models.models.losses import log_normal, posterior_sample
from gen_models.seeding import generator as own_generator

IMAGES = 100  # encoded at once
DENSITIES = 250  # images whose density is computed at once
CHUNK_VALUES = 2**20  # values of x decoded at once: 4 MiB, so that they stay in the cache


def binarised(images: Tensor) -> Tensor:
    """Each pixel of (n, ...) images in [0, 1] drawn from Bernoulli(grey): 0.0 or 1.0.

    Dynamic binarisation (Salakhutdinov & Murray 2008) with one fixed draw for evaluation, which is
    the same on every device.
    """
    return torch.bernoulli(images.cpu(), generator=own_generator("binarise", 0)).to(images)


@torch.no_grad()
def negative_elbo(
    model: Likelihood,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    generator: torch.Generator,
    samples: int = 1,
) -> tuple[Tensor, Tensor]:
    """The two terms of each image's -ELBO, (n,) nats: E_q[-log p(x | z)] and KL(q(z | x) || p(z)).

    From samples of q(z | x), of which one an image is enough for a mean over many images; a KL with
    a closed form is exact.
    """
    parts = []
    for chunk, own in _chunks(images, labels, IMAGES):
        mu, logvar = model.encode(chunk, own)
        z, _ = _draw(mu, logvar, samples, generator)
        likelihoods = model.log_likelihood(z, chunk)  # (samples, n)
        recon = -likelihoods.mean(0)
        kl = model.kl(mu, logvar, z).expand_as(likelihoods).mean(0)
        parts.append((recon, kl))
    recons, kls = zip(*parts, strict=True)
    return torch.cat(recons), torch.cat(kls)


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

    Burda et al. 2016, equation 8, with K samples. K = 1 is the ELBO in expectation; the bound rises
    with K, to log p(x). The samples are decoded in chunks; memory does not grow with n or K. (n,)
    nats, float64.
    """
    bounds = []
    for chunk, own in _chunks(images, labels, IMAGES):
        mu, logvar = model.encode(chunk, own)
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
    model finds all images equally likely, it is 8. Pixels are whole multiples of 1 / 255; each is
    drawn from its own interval. (n,) float64.
    """
    densities = [
        model.log_density(chunk, own, generator=generator)
        for chunk, own in _chunks(images, labels, DENSITIES)
    ]
    return -torch.cat(densities).double() / (model.pixels * log(2))


def _chunks(
    images: Tensor, labels: Tensor | None, size: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """So many of the images at once, with their labels."""
    for start in range(0, len(images), size):
        yield Split(images, labels).take(slice(start, start + size))


def _draw(
    mu: Tensor, logvar: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples of q(z | x), (k, n, latent_dim), and the noise in them, (k, n, d)."""
    noise = torch.randn(samples, *logvar.shape, generator=generator).to(mu)
    return posterior_sample(mu, logvar, noise), noise
