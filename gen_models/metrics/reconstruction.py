"""How well a model can make given images: by its encoder, or by latent inversion of its decoder.

Inversion needs nothing but `prior` and `decode`, so it treats a GAN and a VAE alike (Creswell &
Bharath 2018; restarts as in Samangouei et al. 2018, "Defense-GAN"). A baseline that knows nothing
of digits: principal components.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from gen_models.metrics.intervals import Interval, mean_interval
from gen_models.metrics.pixels import PrincipalComponents
from gen_models.models.interface import CHUNK, GenerativeModel, eval_mode
from gen_models.seeding import generator

ROWS = 2048  # images times restarts optimised at once
HIGHEST_PSNR = 100.0  # dB; of a perfect image it would be infinite and so would every mean
NORMAL_LIMIT = 3.0  # |z| of a normal prior: beyond lie 0.27 % of its draws


class ImageErrors(NamedTuple):
    """Errors of reconstructions, one value for each image, (n,) each."""

    mse: Tensor  # mean squared error of pixels in [0, 1]
    psnr: Tensor  # dB, at most HIGHEST_PSNR
    ssim: Tensor  # structural similarity, [-1, 1], 1 for a perfect image


class Inversion(NamedTuple):
    """The best latents found for some images."""

    z: Tensor  # (n, latent_dim)
    images: Tensor  # (n, 1, 28, 28), decoded from z
    mse: Tensor  # (n,) mean squared error of pixels
    radius: Tensor  # (n,) |z| over its root mean square under the prior; 1 on the typical set
    curve: Tensor  # (steps + 1, restarts) mean over images of the best of the first r + 1 restarts


def image_errors(images: Tensor, reconstructions: Tensor) -> ImageErrors:
    """Mean squared error, PSNR and SSIM of each image; all with a data range of 1.

    SSIM: Wang et al. 2004, with a Gaussian window of standard deviation 1.5. The mean of PSNRs is
    not the PSNR of the mean squared error.

    Args:
        images: (n, 1, 28, 28) in [0, 1].
        reconstructions: The same shape and range.
    """
    parts = []
    for real, made in zip(images.split(CHUNK), reconstructions.split(CHUNK), strict=True):
        mse = (made - real).square().flatten(1).mean(1)
        psnr = peak_signal_noise_ratio(
            made, real, data_range=1.0, reduction="none", dim=(1, 2, 3)
        ).clamp(max=HIGHEST_PSNR)
        ssim = structural_similarity_index_measure(made, real, data_range=1.0, reduction="none")
        assert isinstance(ssim, Tensor)
        parts.append((mse, psnr, ssim.view(-1)))
    return ImageErrors(*(torch.cat(part) for part in zip(*parts, strict=True)))


def error_intervals(errors: ImageErrors) -> dict[str, Interval]:
    """Mean and 95 % interval over images of "mse", "psnr" and "ssim"."""
    return {name: mean_interval(values) for name, values in errors._asdict().items()}


def invert(
    model: GenerativeModel,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    seed: int = 0,
    restarts: int = 4,
    steps: int = 200,
    lr: float = 0.05,
    on_support: bool = True,
) -> Inversion:
    """Search the z whose decoded image is nearest to each image, by Adam with cosine decay to 0.

    Each image is started `restarts` times from the prior, all at once, and the restart with the
    lowest final error is taken. On the support of the prior, z of a uniform prior is held in
    [-1, 1]; of a normal one, coordinates beyond +-3 are drawn anew while the learning rate is
    above half its start (Lipton & Tripathi 2017) and held at +-3 afterwards.

    Args:
        model: Left as it was.
        images: (n, 1, 28, 28) in [0, 1], on the model's device.
        labels: (n,) int64, the images' classes, for a conditional model.
        seed: Of the starts, whatever the model.
        restarts: Starts for each image.
        steps: Steps of Adam for each start.
        lr: Adam's first learning rate.
        on_support: Keep z where the prior has its mass. Without it the error says less about the
            model: z that it never draws can make images that it never makes.

    Raises:
        ValueError: `restarts` or `steps` is below 1.
    """
    if restarts < 1 or steps < 1:
        raise ValueError(f"restarts and steps must be at least 1, got {restarts} and {steps}")
    limit = prior_limit(model) if on_support else float("inf")
    if labels is not None:
        labels = labels.repeat_interleave(restarts)  # (n r,)
    starts = model.prior(len(images) * restarts, generator("inversion", seed), labels)
    starts = starts.view(len(images), restarts, -1)
    at_once = max(1, ROWS // restarts)
    latents, errors = [], []
    with _frozen(model):
        for index, first in enumerate(range(0, len(images), at_once)):
            chunk = slice(first, first + at_once)
            fresh = generator("redraw", seed, index)
            known = None if labels is None else labels[first * restarts :][: at_once * restarts]
            z, error = _descend(
                model, images[chunk], starts[chunk], known, limit, fresh, steps=steps, lr=lr
            )
            latents.append(z)
            errors.append(error)
        z, error = torch.cat(latents), torch.cat(errors, 1)  # (n, r, d), (steps + 1, n, r)
        best = error[-1].argmin(1)
        z = z[torch.arange(len(z), device=z.device), best]
        with torch.no_grad():
            found = torch.cat([model.decode(chunk) for chunk in z.split(CHUNK)])
    typical = _draws(model).square().sum(1).mean().sqrt()
    return Inversion(
        z=z,
        images=found,
        mse=error[-1].amin(1),
        radius=z.norm(dim=1) / typical,
        curve=error.cummin(2).values.mean(1),
    )


def inversion_control(
    model: GenerativeModel,
    count: int,
    labels: Tensor | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> tuple[Inversion, Tensor]:
    """Invert the model's own samples, whose error could be 0: what remains is the search's fault.

    Args:
        model: Left as it was.
        count: Number of samples.
        labels: (count,) int64, their classes, for a conditional model.
        seed: Of the samples and the starts, which differ.
        **options: Of `invert`.

    Returns:
        The inversion, and |z found - z| / |z| of each sample, (count,): near sqrt(2) where the
        decoder ignores most of z, as a VAE's does.
    """
    z = model.prior(count, generator("control", seed), labels)
    with _frozen(model), torch.no_grad():
        images = model.decode(z)
    found = invert(model, images, labels, seed=seed, **options)
    return found, (found.z - z).norm(dim=1) / z.norm(dim=1)


def component_reconstruction(fitted: PrincipalComponents, images: Tensor, width: int) -> Tensor:
    """Images projected on the first `width` principal components and cut to [0, 1].

    Args:
        fitted: Of the training images.
        images: (n, 1, 28, 28).
        width: At most the number of components fitted; a model's latent width.

    Raises:
        ValueError: Fewer components were fitted.
    """
    if width > len(fitted.components):
        raise ValueError(f"width must be at most {len(fitted.components)}, got {width}")
    components = fitted.components[:width]
    codes = (images.flatten(1) - fitted.mean) @ components.T
    return torch.addmm(fitted.mean, codes, components).clamp_(0, 1).view_as(images)


def prior_limit(model: GenerativeModel) -> float:
    """How far |z| goes: 1 for a prior that never leaves [-1, 1], else NORMAL_LIMIT."""
    return 1.0 if _draws(model).abs().max() <= 1 else NORMAL_LIMIT


def _draws(model: GenerativeModel) -> Tensor:
    return model.prior(1000, generator("support"))


@torch.enable_grad()
def _descend(
    model: GenerativeModel,
    images: Tensor,
    start: Tensor,
    labels: Tensor | None,
    limit: float,
    fresh: torch.Generator,
    *,
    steps: int,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """The final z, (n, r, d), and the errors before each step and at the end, (steps + 1, n, r)."""
    z = start.flatten(0, 1).clone().requires_grad_(True)  # (n r, d)
    target = images.flatten(1).unsqueeze(1)  # (n, 1, p)
    optimizer = torch.optim.Adam([z], lr=lr, fused=True)
    errors = []
    for step in range(steps + 1):
        made = model.decode(z).flatten(1).view(*start.shape[:2], -1)  # (n, r, p)
        error = (made - target).square().mean(2)  # (n, r)
        errors.append(error.detach())
        if step == steps:
            break
        # A sum, so that one image's steps do not depend on how many others there are.
        (z.grad,) = torch.autograd.grad(error.sum(), z)
        share = 0.5 * (1 + cos(pi * step / steps))
        optimizer.param_groups[0]["lr"] = share * lr
        optimizer.step()
        with torch.no_grad():
            if limit == NORMAL_LIMIT and share > 0.5:
                drawn = model.prior(len(z), fresh, labels)
                z.copy_(torch.where(z.abs() > limit, drawn, z))
            z.clamp_(-limit, limit)
    return z.detach().view_as(start), torch.stack(errors)


@contextmanager
def _frozen(model: GenerativeModel) -> Iterator[None]:
    """The model in eval mode, without gradients of its weights; afterwards as before."""
    assert isinstance(model, nn.Module)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        with eval_mode(model):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
