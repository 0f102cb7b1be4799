"""How well a model can recreate images: with its encoder, or by latent inversion of its decoder.

Inversion needs nothing but `prior` and `decode`, so it treats a GAN and a VAE alike (Creswell &
Bharath 2018; restarts as in Samangouei et al. 2018, "Defense-GAN").
"""

from math import cos, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from gen_models.models.interface import CHUNK, GenerativeModel, eval_mode
from gen_models.seeding import generator

ROWS = 2048  # images times restarts optimised at once
HIGHEST_PSNR = 100.0  # dB; of a perfect image it would be infinite and so would every mean
CANDIDATES = 10_000  # draws of the prior among which an image's starts are
RESTARTS = 8
STEPS = 250
LR = 0.05  # of Adam, at first
GROUPS = 10  # of the candidates, at most, where a model does not know of classes
WITHIN = 0.99  # share of a prior's draws within its reach
SMALL, WINDOW, SMALL_WINDOW = 11, 1.5, 0.9  # pixels; standard deviations of SSIM's window


class Inversion(NamedTuple):
    """The best latents found for some images."""

    z: Tensor  # (n, latent_dim)
    images: Tensor  # (n, c, h, w), decoded from z
    mse: Tensor  # (n,) mean squared error of pixels
    radius: Tensor  # (n,) length over its root mean square under the prior; 1 on the typical set
    curve: Tensor  # (steps + 1, restarts) mean over images of the best of the first r + 1 restarts


class Reach(NamedTuple):
    """How far a model's own prior reaches, with the same rule for every prior.

    A ball that holds 99 % of the prior's draws, and a box that holds all of 10,000: [-1, 1] for
    U(-1, 1); for N(0, I), about +-4.5, only the ball matters. Both limit the noise alone: a label,
    in the columns after it, is known and does not change.
    """

    radius: float  # length of the noise
    coordinate: float  # absolute value of a coordinate
    typical: float  # root mean square length of a draw
    width: int  # columns of noise

    def length(self, z: Tensor) -> Tensor:
        """Length of the noise in z, (..., latent_dim): (..., 1)."""
        return z[..., : self.width].norm(dim=-1, keepdim=True)

    def hold(self, z: Tensor) -> Tensor:
        """Z, (..., latent_dim), cut to the box, then shortened to the radius."""
        noise = z[..., : self.width].clamp(-self.coordinate, self.coordinate)
        noise = noise * (self.radius / noise.norm(dim=-1, keepdim=True)).clamp(max=1)
        return torch.cat([noise, z[..., self.width :]], -1)

    def tangent(self, z: Tensor, gradient: Tensor) -> Tensor:
        """The gradient at z without the parts that lead beyond the radius or change the label.

        With them, Adam, which scales each coordinate separately, and `hold` would come to rest away
        from the best point of the sphere.
        """
        noise, slope = z[..., : self.width], gradient[..., : self.width]
        along = (slope * noise).sum(-1, keepdim=True)  # below 0: descent leads outward
        out = (along < 0) & (self.length(z) > 0.999 * self.radius)
        slope = slope - out * along / noise.square().sum(-1, keepdim=True) * noise
        return torch.cat([slope, torch.zeros_like(z[..., self.width :])], -1)


def image_errors(images: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """Errors of each image, all with a data range of 1.

    SSIM: Wang et al. 2004, with a Gaussian window of standard deviation 1.5 (of 0.9 in images of
    8 pixels, in which the other has no room). The mean of PSNRs is not the PSNR of the mean squared
    error. Both are (n, c, h, w) in [0, 1].

    Returns:
        "mse", the mean squared error of pixels; "psnr", dB, at most HIGHEST_PSNR; "ssim", the
        structural similarity, [-1, 1], 1 for a perfect image. (n,) each.
    """
    errors: dict[str, list[Tensor]] = {"mse": [], "psnr": [], "ssim": []}
    sigma = WINDOW if min(images.shape[2:]) >= SMALL else SMALL_WINDOW
    for real, ours in zip(images.split(CHUNK), reconstructions.split(CHUNK), strict=True):
        errors["mse"].append((ours - real).square().flatten(1).mean(1))
        psnr = peak_signal_noise_ratio(ours, real, data_range=1.0, reduction="none", dim=(1, 2, 3))
        errors["psnr"].append(psnr.clamp(max=HIGHEST_PSNR))
        ssim = structural_similarity_index_measure(
            ours, real, sigma=sigma, data_range=1.0, reduction="none"
        )
        assert isinstance(ssim, Tensor)
        errors["ssim"].append(ssim.view(-1))
    return {name: torch.cat(parts) for name, parts in errors.items()}


def invert(
    model: GenerativeModel,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    restarts: int = RESTARTS,
    steps: int = STEPS,
) -> Inversion:
    """Search the z whose decoded image is nearest to each image, the same way for every model.

    Starts are those of CANDIDATES draws of the prior whose images are nearest, among draws with the
    image's label. Adam descends from `restarts` of them at once, its rate falling to 0 as a cosine;
    the end with the lowest error is taken. After each step z is put back into the prior's own reach
    (`Reach`): z that a model hardly ever draws can make images that it hardly ever makes.

    Args:
        model: The model, which is not changed.
        images: (n, c, h, w) in [0, 1], on the model's device.
        labels: (n,) int64, the images' classes. A model that is not conditional draws of any
            class: there labels only share the candidates out, among ten groups at most.
        restarts: Starts for each image; ValueError if there are not so many candidates.
        steps: Steps of Adam for each start.
    """
    if labels is not None and not model.conditional:
        labels = labels % GROUPS
    classes = 1 if labels is None else int(labels.max()) + 1
    most = CANDIDATES // classes
    if not (1 <= restarts <= most and steps >= 1):
        raise ValueError(
            f"restarts must lie in [1, {most}] and steps be at least 1, got {restarts} and {steps}"
        )
    reach = prior_reach(model)
    at_once = max(1, ROWS // restarts)
    with eval_mode(model), torch.no_grad():
        drawn = None if labels is None else torch.arange(CANDIDATES).to(labels) % classes
        candidates = reach.hold(model.prior(CANDIDATES, generator("inversion", 0), drawn))
        decoded = torch.cat([model.decode(part).flatten(1) for part in candidates.split(CHUNK)])
        latents, errors = [], []
        for first in range(0, len(images), at_once):
            target = images[first : first + at_once].flatten(1)  # (n, p)
            distances = torch.cdist(target, decoded)  # (n, CANDIDATES)
            if labels is not None:
                distances[labels[first : first + at_once, None] != drawn] = torch.inf
            starts = candidates[distances.topk(restarts, largest=False).indices]  # (n, r, d)
            z, error = _descend(model, target, starts, reach, steps)
            latents.append(z)
            errors.append(error)
        z, error = torch.cat(latents), torch.cat(errors, 1)  # (n, r, d), (steps + 1, n, r)
        z = z[torch.arange(len(z), device=z.device), error[-1].argmin(1)]
        recreated = torch.cat([model.decode(part) for part in z.split(CHUNK)])
    return Inversion(
        z=z,
        images=recreated,
        mse=error[-1].amin(1),
        radius=reach.length(z).squeeze(1) / reach.typical,
        curve=error.cummin(2).values.mean(1),
    )


def inversion_control(
    model: GenerativeModel, count: int, labels: Tensor | None = None, **options: Any
) -> Inversion:
    """Invert the model's own samples, whose error could be 0: any error is the search's fault.

    Samples beyond the prior's reach, one in a hundred, are put back into it, so that the search can
    reach each of them. Labels are their classes, for a conditional model; options are those of
    `invert`.
    """
    z = prior_reach(model).hold(model.prior(count, generator("control", 0), labels))
    with eval_mode(model), torch.no_grad():
        images = model.decode(z)
    return invert(model, images, labels, **options)


def prior_reach(model: GenerativeModel) -> Reach:
    """The reach of a model's prior, measured on CANDIDATES draws."""
    draws = model.prior(CANDIDATES, generator("reach"))[:, : model.noise_dim]
    lengths = draws.norm(dim=1)
    return Reach(
        radius=lengths.quantile(WITHIN).item(),
        coordinate=draws.abs().max().item(),
        typical=lengths.square().mean().sqrt().item(),
        width=model.noise_dim,
    )


@torch.enable_grad()
def _descend(
    model: GenerativeModel, target: Tensor, start: Tensor, reach: Reach, steps: int
) -> tuple[Tensor, Tensor]:
    """The final z, (n, r, d), and the errors before each step and at the end, (steps + 1, n, r)."""
    z = start.flatten(0, 1).clone().requires_grad_(True)  # (n r, d)
    optimizer = torch.optim.Adam([z], lr=LR, fused=True)
    errors = []
    for step in range(steps + 1):
        images = model.decode(z).flatten(1).view(*start.shape[:2], -1)  # (n, r, p)
        error = (images - target.unsqueeze(1)).square().mean(2)  # (n, r)
        errors.append(error.detach())
        if step == steps:
            break
        # A sum, so that one image's steps do not depend on how many others there are.
        (gradient,) = torch.autograd.grad(error.sum(), z)
        z.grad = reach.tangent(z.detach(), gradient)
        optimizer.param_groups[0]["lr"] = 0.5 * (1 + cos(pi * step / steps)) * LR
        optimizer.step()
        with torch.no_grad():
            z.copy_(reach.hold(z))
    return z.detach().view_as(start), torch.stack(errors)
