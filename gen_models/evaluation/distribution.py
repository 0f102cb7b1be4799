"""Distances between two sets of images as pure functions of their features, (n, d) each.

Frechet distance: Heusel et al. 2017. Kernel distance: Binkowski et al. 2018. Precision and recall:
Kynkaanniemi et al. 2019; density and coverage: Naeem et al. 2020. Features come from one fixed
classifier (`classifier.py`), so no figure compares with one from Inception features.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.evaluation.intervals import Interval

CHUNK_BYTES = 64 * 2**20  # of a matrix of distances or kernel values held at once
BLOCKS = 100  # of a block bootstrap


class Overlap(NamedTuple):
    """How far two sets of features share their support."""

    precision: float  # share of fakes inside a real image's ball, [0, 1]
    recall: float  # share of real images inside a fake's ball, [0, 1]
    density: float  # mean number of real balls that hold a fake, over k; 1 for equal distributions
    coverage: float  # share of real images whose ball holds a fake, [0, 1]


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets, in squared features.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), Heusel et al. 2017, equation 6; in float64. Biased
    upward by about tr(S) (1 / n1 + 1 / n2) or more: compare only figures of equal sample sizes.

    Args:
        real: (n, d), n at least 2.
        fake: (m, d), m at least 2.

    Raises:
        ValueError: The shapes do not fit or a feature is not finite.
    """
    _check(real, fake, least=2)
    real_mean, real_covariance = _moments(real)
    fake_mean, fake_covariance = _moments(fake)
    values, vectors = torch.linalg.eigh(real_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # S1^(1/2)
    # S1 S2 has the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2), so no matrix root is needed.
    eigenvalues = torch.linalg.eigvalsh(root @ fake_covariance @ root)
    overlap = eigenvalues.clamp(min=0).sqrt().sum()
    distance = (
        (real_mean - fake_mean).square().sum()
        + real_covariance.trace()
        + fake_covariance.trace()
        - 2 * overlap
    )
    return max(0.0, distance.item())  # below 0 by rounding only


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared MMD of two sets, with the kernel (x.y / d + 1)^3; no unit, may be negative.

    One U-statistic over all pairs (Gretton et al. 2012, equation 3; the kernel: Binkowski et al.
    2018, section 4), not a mean over subsets. Standardise the features: the kernel has a scale.

    Args:
        real: (n, d), n at least 2.
        fake: (m, d), m at least 2.

    Raises:
        ValueError: The shapes do not fit or a feature is not finite.
    """
    return _KernelBlocks(real, fake).distance()


def kernel_distance_interval(
    real: Tensor,
    fake: Tensor,
    *,
    generator: torch.Generator,
    blocks: int = BLOCKS,
    resamples: int = 2000,
) -> Interval:
    """`kernel_distance` with its 95 % interval over the draw of both sets, by a block bootstrap.

    Rows are dealt to blocks at random; each resample draws blocks of either set with replacement
    and takes the weighted U-statistic, no pair of a row with itself counted. For nearly equal
    distributions, where the statistic is degenerate, the interval is nearly twice too wide: it
    calls a difference real too seldom rather than too often.

    Args:
        real: (n, d), n at least 2.
        fake: (m, d), m at least 2.
        generator: Of the deal and the resamples; on the CPU.
        blocks: Blocks of either set; at most n and m are made.
        resamples: Bootstrap resamples.

    Raises:
        ValueError: The shapes do not fit or a feature is not finite.
    """
    _check(real, fake, least=2)
    blocks = min(blocks, len(real), len(fake))
    real = real[torch.randperm(len(real), generator=generator).to(real.device)]
    fake = fake[torch.randperm(len(fake), generator=generator).to(fake.device)]
    sums = _KernelBlocks(real, fake, blocks)
    weights = torch.zeros(2, resamples, blocks, dtype=torch.float64)
    drawn = torch.randint(blocks, weights.shape, generator=generator)
    weights.scatter_add_(2, drawn, torch.ones_like(weights))  # how often each block was drawn
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = sums.distances(*weights).quantile(ends).tolist()
    return Interval(sums.distance(), low, high)


def precision_recall_density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> Overlap:
    """Overlap of two sets, by balls that reach to each feature's k-th nearest neighbour.

    Naeem et al. 2020, equations 1 to 4. A ball is open, as in the authors' package prdc; float64,
    in chunks of at most 64 MiB.

    Args:
        real: (n, d), n above k.
        fake: (m, d), m above k.
        k: Neighbours. Equal distributions have a coverage of about 1 - 2^-k.

    Raises:
        ValueError: The shapes do not fit, k is below 1 or a feature is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _check(real, fake, least=k + 1)
    real, fake = real.double(), fake.double()
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)  # real ones, a fake
    recalled = covered = 0
    for start, distances in _squared_distances(real, fake):  # (c, m)
        radii = real_radii[start : start + len(distances), None]
        balls += (distances < radii).sum(0)
        recalled += int((distances < fake_radii).any(1).sum())
        covered += int((distances.amin(1, keepdim=True) < radii).sum())
    return Overlap(
        precision=(balls > 0).double().mean().item(),
        recall=recalled / len(real),
        density=balls.double().mean().item() / k,
        coverage=covered / len(real),
    )


def label_histogram(labels: Tensor, *, classes: int = 10) -> Tensor:
    """Share of each class, (classes,) float64, from (n,) labels in [0, classes)."""
    return torch.bincount(labels, minlength=classes).double() / len(labels)


def histogram_divergence(fake: Tensor, real: Tensor) -> float:
    """KL(fake || real) of two histograms, in nats; 0 at best, log(classes) at a total collapse.

    Args:
        fake: (classes,) shares of the generated images; a share of 0 adds nothing.
        real: (classes,) shares of the real images, none of them 0.

    Raises:
        ValueError: A real class is empty.
    """
    if not bool((real > 0).all()):
        raise ValueError("every class must have real images")
    return torch.special.xlogy(fake, fake / real).sum().item()


def missing_classes(fake: Tensor, real: Tensor, *, below: float = 0.1) -> int:
    """Number of classes whose share is less than `below` times their real one.

    Not the number of empty classes: a classifier that errs now and then fills those too.

    Args:
        fake: (classes,) shares of the generated images.
        real: (classes,) shares of the real images.
        below: A share of the real share, [0, 1].
    """
    return int((fake < below * real).sum())


def mean_confidence(logits: Tensor) -> float:
    """Mean probability of the likeliest class, [1 / classes, 1], from (n, classes) logits."""
    return logits.double().softmax(1).amax(1).mean().item()


class _KernelBlocks:
    """Sums of the cubic kernel over pairs of blocks of rows, from which every figure follows.

    Pairs of a row with itself are left out, so that each figure is unbiased.
    """

    def __init__(self, real: Tensor, fake: Tensor, blocks: int = 1) -> None:
        _check(real, fake, least=2)
        real, fake = real.float(), fake.float()
        self.sizes = [_block_sizes(len(rows), blocks) for rows in (real, fake)]
        self.real = _kernel_sums(real, real, blocks)  # (blocks, blocks) float64
        self.fake = _kernel_sums(fake, fake, blocks)
        self.cross = _kernel_sums(real, fake, blocks)

    def distance(self) -> float:
        """The squared MMD of all rows."""
        once = torch.ones(1, len(self.cross), dtype=torch.float64)
        return self.distances(once, once).item()

    def distances(self, real_weights: Tensor, fake_weights: Tensor) -> Tensor:
        """Squared MMDs, (r,), with weights of the real and of the fake blocks, (r, blocks) each."""
        total = torch.zeros(len(real_weights), dtype=torch.float64)
        weights, sums = (real_weights, fake_weights), (self.real, self.fake)
        for weight, size, kernel in zip(weights, self.sizes, sums, strict=True):
            pairs = (weight @ size).square() - weight.square() @ size  # without i = j
            total += (weight @ kernel * weight).sum(1) / pairs
        pairs = (real_weights @ self.sizes[0]) * (fake_weights @ self.sizes[1])
        return total - 2 * (real_weights @ self.cross * fake_weights).sum(1) / pairs


def _block_sizes(n: int, blocks: int) -> Tensor:
    return torch.tensor([len(block) for block in torch.arange(n).tensor_split(blocks)]).double()


def _kernel_sums(x: Tensor, y: Tensor, blocks: int) -> Tensor:
    """Sum of the kernel over each pair of a block of x and one of y, (blocks, blocks) float64."""
    sizes = _block_sizes(len(y), blocks).long()
    block_of = torch.arange(blocks).repeat_interleave(sizes).to(y.device)  # (m,)
    sums = torch.zeros(blocks, blocks, dtype=torch.float64, device=x.device)
    scaled = x / x.shape[1]
    start = 0
    for index, block in enumerate(scaled.tensor_split(blocks)):
        for rows in block.split(max(1, CHUNK_BYTES // (16 * len(y)))):
            kernel = (rows @ y.T).add_(1)  # (c, m)
            kernel = kernel * kernel * kernel
            if x is y:
                kernel.diagonal(start).zero_()
            sums[index].index_add_(0, block_of, kernel.sum(0, dtype=torch.float64))
            start += len(rows)
    return sums.cpu()


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """First row and squared Euclidean distances, (c, m), of chunks of x to all of y."""
    norms = y.square().sum(1)  # (m,)
    rows = max(1, CHUNK_BYTES // (y.element_size() * len(y)))
    for start in range(0, len(x), rows):
        chunk = x[start : start + rows]
        distances = torch.addmm(norms, chunk, y.T, alpha=-2)
        yield start, distances.add_(chunk.square().sum(1, keepdim=True))


def _squared_radii(features: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, (n,)."""
    radii = []
    for start, distances in _squared_distances(features, features):
        distances.diagonal(start).fill_(torch.inf)
        radii.append(distances.topk(k, largest=False).values[:, -1])  # kthvalue is far slower
    return torch.cat(radii)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    exact = features.double()
    return exact.mean(0), exact.T.cov()


def _check(real: Tensor, fake: Tensor, *, least: int) -> None:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"features must be (n, d) and (m, d), got {tuple(real.shape)} and {tuple(fake.shape)}"
        )
    if min(len(real), len(fake)) < least:
        raise ValueError(f"at least {least} rows are needed, got {len(real)} and {len(fake)}")
    if not (bool(real.isfinite().all()) and bool(fake.isfinite().all())):
        raise ValueError("features must be finite")
