"""Measures and references that need no features: functions of images, (n, c, h, w) in [0, 1].

Sharpness, memorisation, principal components, and the two ceilings of the distances: images that
a model without any idea of what they show would make.
"""

from math import pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gen_models.seeding import derive_seed
from gen_models.seeding import generator as own_generator

CHUNK_BYTES = 64 * 2**20  # of a matrix of distances held at once
NO_VARIANCE = 1e-8  # of the first component's: rounding
EXACT = 1024  # pixels, at most, of images whose whole covariance is decomposed
PROJECTED = 10_000  # larger images whose covariance is projected, at most
OVERSAMPLED, ITERATIONS = 20, 4  # of the projection
LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
ROTATION = 10 / 180 * pi  # the largest distortions of the classifier's training images
SCALE = 0.1
SHIFT = 2 / 14  # of half an image: 2 pixels of 28


class Neighbours(NamedTuple):
    """The nearest of some reference images, for each image."""

    distances: Tensor  # (n,) Euclidean, in pixels
    indices: Tensor  # (n,) int64


class PrincipalComponents(NamedTuple):
    """Mean and leading eigenvectors of the covariance of images."""

    mean: Tensor  # (p,)
    components: Tensor  # (k, p), orthonormal rows
    variances: Tensor  # (k,), falling, squared pixels

    def leading(self, count: int) -> "PrincipalComponents":
        """The first `count` components."""
        return PrincipalComponents(self.mean, self.components[:count], self.variances[:count])

    def coordinates(self, images: Tensor) -> Tensor:
        """Coordinates of (n, ...) images, (n, k)."""
        return (images.flatten(1) - self.mean) @ self.components.T

    def whitened(self, images: Tensor) -> Tensor:
        """Coordinates, (n, k), with mean 0 and variance 1 in the images that were fitted.

        Components along which these do not vary, as they are fewer than k, are left out.
        """
        vary = self.variances >= NO_VARIANCE * self.variances[0]
        coordinates = self.coordinates(images)[:, vary]
        return coordinates / self.variances[vary].clamp(min=1e-12).sqrt()

    def project(self, images: Tensor) -> Tensor:
        """Images (n, ...) projected on the components and cut to [0, 1]; the same shape."""
        projection = torch.addmm(self.mean, self.coordinates(images), self.components)
        return projection.clamp_(0, 1).view_as(images)


def sharpness(images: Tensor) -> dict[str, float]:
    """How sharp (n, c, h, w) images are; compare with real images, which are not the sharpest.

    Returns:
        "laplacian_variance", the mean variance over an image of its discrete Laplacian, in squared
        pixels: Pech-Pacheco et al. 2000's measure of focus, here without the image's border, where
        it is not defined, and in colour the mean over the channels. "grey_share", the share of
        pixels in (0.1, 0.9), [0, 1]; blur raises it.
    """
    kernel = LAPLACIAN.to(images).view(1, 1, 3, 3)
    variances, grey = [], 0
    for chunk in images.split(1000):  # all at once would take 400 MiB
        planes = chunk.flatten(0, 1).unsqueeze(1)  # a channel each
        edges = F.conv2d(planes, kernel).flatten(1)  # (n c, (h - 2) (w - 2))
        variances.append(edges.double().var(1, correction=0))
        grey += int(((chunk > 0.1) & (chunk < 0.9)).sum())
    focus = torch.cat(variances).mean().item()
    return {"laplacian_variance": focus, "grey_share": grey / images.numel()}


def nearest(images: Tensor, reference: Tensor) -> Neighbours:
    """The nearest of (m, ...) reference images to each of (n, ...) images; all are float."""
    x, y = images.flatten(1), reference.flatten(1)
    norms = torch.cat([part.square().sum(1) for part in y.split(1000)])
    rows = max(1, CHUNK_BYTES // (y.element_size() * len(y)))
    # |x - y|^2 - |x|^2, (rows, m), is enough to find the nearest
    indices = torch.cat([torch.addmm(norms, a, y.T, alpha=-2).argmin(1) for a in x.split(rows)])
    # Computed again from the difference, so that a copy is at distance 0 exactly.
    chunks = zip(x.split(1000), indices.split(1000), strict=True)
    return Neighbours(torch.cat([(a - y[i]).square().sum(1).sqrt() for a, i in chunks]), indices)


def memorisation(images: Tensor, train: Tensor, test: Tensor) -> Tensor:
    """Whether images are nearer to the training images than to other images of the same kind.

    The mean distance to the nearest training image, over that to the nearest of as many test
    images: about 1 for a model that generalises, below 1 for one that copies training images.
    Compare with the ratio of validation images. The model was trained on `train`, (m, c, h, w);
    there are as many of `test`, or the ratio would be biased.

    Returns:
        (n,) values whose mean is the ratio r, and whose standard error is the ratio's by the delta
        method: r + (a - r b) / mean(b) of an image at the distances a and b.
    """
    to_train, to_test = (nearest(images, each).distances.double() for each in (train, test))
    ratio = to_train.mean() / to_test.mean()
    return ratio + (to_train - ratio * to_test) / to_test.mean()


def principal_components(images: Tensor, count: int) -> PrincipalComponents:
    """The `count` leading principal components of (n, ...) images, of p pixels each.

    Computed on the CPU, because their signs are arbitrary and would differ on a GPU, and so would
    the images that a Gaussian draws with them. Of images of more than `EXACT` pixels, a random
    projection finds them (Halko et al. 2011), in a hundredth of the time.
    """
    x = images.flatten(1).cpu()
    if count < x.shape[1] > EXACT:
        return PrincipalComponents(*(each.to(images) for each in _projected(x, count)))
    mean = sum(chunk.double().sum(0) for chunk in x.split(5000)) / len(x)
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for chunk in x.split(5000):
        centred = chunk.double() - mean
        covariance.addmm_(centred.T, centred)
    values, vectors = torch.linalg.eigh(covariance / len(x))  # rising
    leading = vectors[:, -count:].flip(1).T
    variances = values[-count:].flip(0).clamp(min=0)
    return PrincipalComponents(mean.to(images), leading.to(images), variances.to(images))


def _projected(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, leading components and variances of many pixels, from (n, p) images."""
    x = x[torch.randperm(len(x), generator=own_generator("components"))[:PROJECTED]]
    mean = x.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("components"))
        columns = min(count + OVERSAMPLED, *x.shape)
        _, values, vectors = torch.svd_lowrank(x - mean, columns, niter=ITERATIONS)
    return mean, vectors.T[:count].contiguous(), values[:count].square() / len(x)


def independent_pixels(images: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """The first ceiling, n images: each pixel is drawn on its own from the same pixel of real ones.

    Each pixel's distribution is right, but the image is noise. The generator is on the CPU.
    """
    x = images.flatten(1)
    drawn = torch.randint(len(x), (n, x.shape[1]), generator=generator).to(x.device)
    return x.gather(0, drawn).view(n, *images.shape[1:])


def gaussian_images(
    fitted: PrincipalComponents, n: int, *, generator: torch.Generator, shape: tuple[int, ...]
) -> Tensor:
    """The second ceiling, (n, *shape): a Gaussian on principal components, cut to [0, 1].

    There are 64 of real images in the report. The generator is on the CPU.
    """
    z = torch.randn(n, len(fitted.variances), generator=generator).to(fitted.mean)
    images = torch.addmm(fitted.mean, z * fitted.variances.sqrt(), fitted.components)
    return images.clamp_(0, 1).view(n, *shape)


def distorted(images: Tensor, own: torch.Generator) -> Tensor:
    """Each image turned, resized and shifted a little at random; (n, c, h, w) in [0, 1]."""
    angle, size, x, y = (2 * torch.rand(4, len(images), generator=own) - 1).unbind()
    angle, size = ROTATION * angle, 1 + SCALE * size
    cos, sin = size * angle.cos(), size * angle.sin()
    height, width = images.shape[2:]  # a grid reaches from -1 to 1 both ways
    rows = [
        torch.stack([cos, -sin * (height / width), SHIFT * x], 1),
        torch.stack([sin * (width / height), cos, SHIFT * y], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
