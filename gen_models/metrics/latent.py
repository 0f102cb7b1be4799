"""The latent space: paths between test images, single units, a map of the means.

Paths: White 2016, "Sampling Generative Networks", section 2.1: straight for a uniform prior, whose
support is convex; spherical for a normal one, whose mass lies on a sphere that a straight path
leaves. Active units: Burda et al. 2016, "Importance Weighted Autoencoders", section 5.2.

Models are in eval mode; images are (n, c, h, w), and the labels of a conditional model (n,) int64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.figures import as_bytes
from gen_models.metrics.pixels import principal_components
from gen_models.models.interface import Density, Encoder, GenerativeModel, latent_means
from gen_models.seeding import generator

PAIRS = 8  # of neighbouring test images, which are in random order
STEPS = 11  # on a path, its ends among them, and of a traversed unit
UNITS = 8  # that are traversed
PROBES = 64  # draws of the prior on which a unit's effect is measured
UNIFORM_LIMIT = 1.0  # largest |z| in the pictures of a uniform prior: its whole range
NORMAL_LIMIT = 3.0  # and of any other: a normal one exceeds it in 0.27 % of its draws
ACTIVE_ABOVE = 0.01  # variance of a posterior mean over images, Burda et al. 2016
PARALLEL = 1e-6  # sine of an angle below which the straight path is the same


class LatentMap(NamedTuple):
    """Latents on the plane of their two leading principal components."""

    points: Tensor  # (n, 2)
    shares: Tensor  # (2,) of the variance, [0, 1]


def straight(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points at equal distances from `start` to `end`, (n, d) each -> (n, steps, d)."""
    share = torch.linspace(0, 1, steps).view(1, -1, 1).to(start)
    return (1 - share) * start.unsqueeze(1) + share * end.unsqueeze(1)


def spherical(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points at equal angles from `start` to `end`, (n, d) each -> (n, steps, d).

    sin((1 - t) a) / sin(a) start + sin(t a) / sin(a) end, a the angle between them (Shoemake 1985);
    ends of one length keep it on the whole way. Straight where the ends are parallel or opposite.
    """
    cosine = torch.nn.functional.cosine_similarity(start.double(), end.double())
    angle = cosine.clamp(-1, 1).acos().view(-1, 1, 1)  # (n, 1, 1)
    share = torch.linspace(0, 1, steps, dtype=torch.float64).view(1, -1, 1).to(angle)
    sine = angle.sin()
    weights = ((1 - share) * angle).sin() / sine, (share * angle).sin() / sine  # (n, steps, 1)
    path = weights[0] * start.unsqueeze(1) + weights[1] * end.unsqueeze(1)
    return torch.where(sine > PARALLEL, path.to(start), straight(start, end, steps))


def traverse(z: Tensor, units: Tensor, values: Tensor) -> Tensor:
    """Copies of one z, (d,), with one unit set to one value each, (units, values, d)."""
    moved = z.repeat(len(units), len(values), 1)
    moved[torch.arange(len(units)), :, units] = values.to(z)
    return moved


@torch.no_grad()
def unit_activity(model: GenerativeModel, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """How much each unit of noise matters, (d,); comparable within one model only.

    With an encoder, the variance over images of the posterior mean, Var_x(E[z | x]): above
    `ACTIVE_ABOVE`, the unit is active. Without one, the mean squared change of a pixel between both
    ends of the unit's range, over draws of the prior for the other units.
    """
    if isinstance(model, Encoder):
        return latent_means(model, images, labels).var(0)
    z = model.prior(PROBES, generator("traversal"))
    limit = _limit(model)
    effects = []
    for unit in range(model.noise_dim):
        low, high = z.clone(), z.clone()
        low[:, unit], high[:, unit] = -limit, limit
        effects.append((model.decode(high) - model.decode(low)).square().mean())
    return torch.stack(effects)


def latent_map(means: Tensor) -> LatentMap:
    """The plane on which latents, (n, d) with d at least 2, differ most.

    A component's sign, which is arbitrary, is that of its largest weight.
    """
    fitted = principal_components(means, means.shape[1])
    plane = fitted.components[:2]  # (2, d)
    largest = plane.gather(1, plane.abs().argmax(1, keepdim=True))  # (2, 1)
    points = (means - fitted.mean) @ (plane * largest.sign()).T
    return LatentMap(points, fitted.variances[:2] / fitted.variances.sum())


@torch.no_grad()
def measure_latent_space(
    model: GenerativeModel, images: Tensor, z: Tensor, labels: Tensor | None = None
) -> dict[str, Tensor]:
    """Pictures of the latent space, for evaluation.npz.

    The latents of the first test images, z (2 x PAIRS or more, latent_dim), are the encoder's
    means, or the results of inversion. The units of the first one are traversed.

    Returns:
        "pictures_interpolation" (pairs, steps, h, w) uint8, with a last axis of 3 in colour,
        between the images 2 i and 2 i + 1;
        "pictures_traversal" (units, steps, h, w) uint8, with "traversal_units", the most active
        first, and "traversal_values", from end to end of the prior's range (+-3 of a normal one);
        with an encoder of two units or more, "latent_map" (n, 2) and "latent_map_shares" (2,).
        The z of a `Density` is noise of the image's size: no unit is more active than
        another, and no plane shows more of it. The units are spread evenly over z, without a map.
    """
    limit = _limit(model)
    path = straight if model.prior_kind == "uniform" else spherical
    ends = z[: 2 * PAIRS].unflatten(0, (-1, 2))  # (pairs, 2, d)
    if isinstance(model, Density):
        units = torch.linspace(0, model.noise_dim - 1, UNITS + 2)[1:-1].long()
    else:
        units = unit_activity(model, images, labels).argsort(descending=True)[:UNITS]
    values = torch.linspace(-limit, limit, STEPS)
    arrays = {
        "pictures_interpolation": _pictures(model, path(ends[:, 0], ends[:, 1], STEPS)),
        "pictures_traversal": _pictures(model, traverse(z[0], units, values)),
        "traversal_units": units,
        "traversal_values": values,
    }
    if isinstance(model, Encoder) and not isinstance(model, Density) and model.noise_dim > 1:
        on_map = latent_map(latent_means(model, images, labels))
        arrays |= {"latent_map": on_map.points, "latent_map_shares": on_map.shares}
    return arrays


def _limit(model: GenerativeModel) -> float:
    return UNIFORM_LIMIT if model.prior_kind == "uniform" else NORMAL_LIMIT


def _pictures(model: GenerativeModel, z: Tensor) -> Tensor:
    """Decode (rows, columns, d) to (rows, columns, h, w) uint8."""
    return as_bytes(model.decode(z.flatten(0, 1))).unflatten(0, z.shape[:2])
