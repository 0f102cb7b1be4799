"""Bounds on log p(x) of a latent-variable model with a diagonal Gaussian encoder, in nats an image.

ELBO: Kingma & Welling 2014, equation 3. Importance weighted bound and active units: Burda et al.
2016, "Importance Weighted Autoencoders", equation 8 and section 5. A model is given as two
functions, so that one with a known likelihood can be put in a VAE's place.
"""

from collections.abc import Callable
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gen_models.losses import kl_to_standard_normal
from gen_models.seeding import generator as own_generator

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images (n, ...) -> mean and log-variance of q(z | x), (n, latent_dim) each."""

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""Images (n, ...) and z, (k, n, latent_dim) -> log p(x | z) in nats, (k, n)."""

IMAGES = 100  # encoded at once
CHUNK_VALUES = 2**20  # values of x decoded at once: 4 MiB, so that they stay in the cache
ACTIVE_ABOVE = 0.01  # variance of a posterior mean over images, Burda et al. 2016


class NegativeELBO(NamedTuple):
    """-ELBO and its two terms, in nats, one figure for each image, (n,) each."""

    loss: Tensor  # recon + kl
    recon: Tensor  # E_q[-log p(x | z)]
    kl: Tensor  # KL(q(z | x) || N(0, I)), exact


def binarised(images: Tensor, *, seed: int = 0) -> Tensor:
    """Each pixel drawn from Bernoulli(grey), the same for a seed on every device.

    Dynamic binarisation (Salakhutdinov & Murray 2008) with one fixed draw for evaluation.

    Args:
        images: (n, ...) in [0, 1].
        seed: Of the draw.

    Returns:
        (n, ...) float, 0 or 1.
    """
    return torch.bernoulli(images.cpu(), generator=own_generator("binarise", seed)).to(images)


def bernoulli_log_likelihood(decode_logits: Callable[[Tensor], Tensor]) -> LogLikelihood:
    """The log-likelihood of independent Bernoulli pixels, from the decoder's logits.

    On grey pixels it is a cross-entropy and no likelihood.

    Args:
        decode_logits: z, (m, latent_dim) -> logits, (m, pixels); for a VAE `vae.network.decode`.
    """

    def log_likelihood(images: Tensor, z: Tensor) -> Tensor:
        pixels = images.flatten(1)  # (n, p)
        logits = decode_logits(z.flatten(0, 1)).float().view(*z.shape[:2], -1)  # (k, n, p)
        # x log sigmoid(l) + (1 - x) log(1 - sigmoid(l)); three times faster than torch's BCE
        return torch.einsum("knp,np->kn", logits, pixels) - F.softplus(logits).sum(2)

    return log_likelihood


@torch.no_grad()
def negative_elbo(
    images: Tensor,
    encode: Encode,
    log_likelihood: LogLikelihood,
    *,
    generator: torch.Generator,
    samples: int = 1,
) -> NegativeELBO:
    """-ELBO of each image, the KL in closed form, the rest by samples of q(z | x).

    Args:
        images: (n, ...).
        encode: q(z | x).
        log_likelihood: log p(x | z).
        generator: Of the samples; on the CPU.
        samples: Samples of z an image; one is enough for a mean over many images.
    """
    parts = []
    for chunk in images.split(IMAGES):
        mu, logvar = encode(chunk)
        z, _ = _draw(mu, logvar, samples, generator)
        recon = -log_likelihood(chunk, z).mean(0)
        kl = kl_to_standard_normal(mu, logvar).sum(1)
        parts.append((recon + kl, recon, kl))
    return NegativeELBO(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def importance_weighted_bound(
    images: Tensor,
    encode: Encode,
    log_likelihood: LogLikelihood,
    *,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Lower bound on log p(x) of each image, log 1/K sum_k p(x, z_k) / q(z_k | x).

    Burda et al. 2016, equation 8. K = 1 is the ELBO in expectation; the bound rises with K, to
    log p(x). The samples are decoded in chunks; memory does not grow with n or K.

    Args:
        images: (n, ...).
        encode: q(z | x), the proposal.
        log_likelihood: log p(x | z).
        samples: K.
        generator: Of the samples; on the CPU.

    Returns:
        (n,) nats, float64.
    """
    bounds = []
    for chunk in images.split(IMAGES):
        mu, logvar = encode(chunk)
        at_once = max(1, CHUNK_VALUES // max(1, chunk.numel()))
        sums = []
        for start in range(0, samples, at_once):
            z, noise = _draw(mu, logvar, min(at_once, samples - start), generator)
            # log N(z; 0, I) - log N(z; mu, sigma^2): the constants cancel
            log_ratio = 0.5 * (noise.square() + logvar - z.square()).sum(2)  # (k, n)
            weights = log_likelihood(chunk, z).double() + log_ratio.double()
            sums.append(weights.logsumexp(0))
        bounds.append(torch.stack(sums).logsumexp(0) - log(samples))
    return torch.cat(bounds)


def active_units(mu: Tensor) -> Tensor:
    """Which latents carry information: Var_x(E[z | x]) > 0.01 (Burda et al. 2016, section 5.2).

    Args:
        mu: (n, latent_dim) posterior means of many images.

    Returns:
        (latent_dim,) bool; its sum is the number of active units.
    """
    return mu.var(0) > ACTIVE_ABOVE


def _draw(
    mu: Tensor, logvar: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples of N(mu, exp logvar) and the noise they were made of, (k, n, latent_dim) each."""
    noise = torch.randn(samples, *mu.shape, generator=generator).to(mu)
    return mu + (0.5 * logvar).exp() * noise, noise
