"""Distances between two sets of images as pure functions of their features, (n, d) and (m, d).

Frechet distance: Heusel et al. 2017. Kernel distance: Binkowski et al. 2018. Precision and recall:
Kynkaanniemi et al. 2019; density and coverage: Naeem et al. 2020. Features come from one fixed
classifier (`classifier.py`), so no value compares with one from Inception features. If a feature
is not finite, each distance raises NotFiniteError.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, frexp, log2
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_BYTES = 16 * 2**20  # of a matrix of distances held at once: within a processor's cache
DIGITS = tuple("0123456789")  # names of the classes of MNIST and its kin
NEIGHBOURS = 5  # k of the balls, Naeem et al. 2020
NORMAL_QUANTILE = 1.959964  # 97.5 % of N(0, 1)


class NotFiniteError(ValueError):
    """A number that a model computed is infinite or not a number, so nothing can be measured."""


class Overlap(NamedTuple):
    """How far two sets of features share their support."""

    precision: float  # share of fakes inside a real image's ball, [0, 1]
    recall: float  # share of real images inside a fake's ball, [0, 1]
    density: float  # mean number of real balls that hold a fake, over k; 1 for equal distributions
    coverage: float  # share of real images whose ball holds a fake, [0, 1]


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets, in squared features.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), Heusel et al. 2017, equation 6; in float64. Biased
    upward by about tr(S) (1 / n + 1 / m) or more: compare only values of equal sample sizes.
    """
    _require_finite(real, fake)
    real, fake = real.double(), fake.double()
    real_mean, real_covariance = real.mean(0), real.T.cov()
    fake_mean, fake_covariance = fake.mean(0), fake.T.cov()
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


def within_class_distance(
    real: Tensor, fake: Tensor, real_labels: Tensor, fake_labels: Tensor
) -> float:
    """Mean over the real classes of `frechet_distance` between the features of one class alone.

    With a tenth of the images a class's distance is biased upward ten times as much. Compare
    it with the same distance between real images, with as many of each class. Labels are (n,) and
    (m,) int64; those of fakes are the classes that the model was to draw.
    """
    distances = [
        frechet_distance(real[real_labels == label], fake[fake_labels == label])
        for label in real_labels.unique()
    ]
    return sum(distances) / len(distances)


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared MMD of two sets, with the kernel (x.y / d + 1)^3; no unit, may be negative.

    One U-statistic over all pairs (Gretton et al. 2012, equation 3; the kernel: Binkowski et al.
    2018, section 4), not a mean over subsets. The kernel has a scale, so standardise the features.
    """
    _require_finite(real, fake)
    real, fake = real.float(), fake.float()
    n, m = len(real), len(fake)
    within = _kernel_sum(real) / (n * (n - 1)) + _kernel_sum(fake) / (m * (m - 1))
    return within - 2 * _kernel_sum(real, fake) / (n * m)


def precision_recall_density_coverage(
    real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS
) -> Overlap:
    """Overlap of two sets, by balls that reach to each feature's k-th nearest neighbour.

    Naeem et al. 2020, equations 1 to 4. A ball is open, as in the authors' package prdc. Exact on
    the grid of `_on_grid`: copies among the rows count the same on every machine.

    Args:
        real: (n, d), n above k.
        fake: (m, d), m above k.
        k: Neighbours. Equal distributions have a coverage of about 1 - 2^-k.
    """
    _require_finite(real, fake)
    real, fake, _ = _on_grid(real, fake)
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


@dataclass
class Coverage:
    """The coverage of one real set by any number of fake ones, in a third of the time of all four.

    It equals that of `precision_recall_density_coverage`, and has the same arguments. The radii of
    the real features are kept for each grid that a fake set needs.
    """

    real: Tensor
    k: int = field(default=NEIGHBOURS, kw_only=True)
    _radii: dict[int, Tensor] = field(default_factory=dict, init=False)  # of a grid's exponent

    def __call__(self, fake: Tensor) -> float:
        """Share of real features whose ball holds one of the fakes, [0, 1]."""
        _require_finite(self.real, fake)
        real, fake, exponent = _on_grid(self.real, fake)
        if exponent not in self._radii:
            self._radii[exponent] = _squared_radii(real, self.k)
        nearest = torch.cat([part.amin(1) for _, part in _squared_distances(real, fake)])
        return (nearest < self._radii[exponent]).double().mean().item()


def label_histogram(labels: Tensor, *, classes: int) -> Tensor:
    """Share of each class, (classes,) float64, from (n,) labels in [0, classes)."""
    return torch.bincount(labels, minlength=classes).double() / len(labels)


def histogram_divergence(fake: Tensor, real: Tensor, *, least: float = 0.0) -> float:
    """KL(fake || real) of two histograms, in nats; 0 at best, log(classes) at a total collapse.

    A share of the real images below `least` counts as that: half an image, where a class has none.
    """
    return torch.special.xlogy(fake, fake / real.clamp(min=least)).sum().item()


def missing_classes(fake: Tensor, real: Tensor) -> int:
    """Number of classes whose share is less than a tenth of their real one.

    Not the number of empty classes: a classifier that errs now and then fills those too. Shares are
    (classes,), as `label_histogram` counts them.
    """
    return int((fake < 0.1 * real).sum())


def missing_key(class_names: tuple[str, ...]) -> str:
    """Name of the metric `missing_classes`: that of digits has one of its own."""
    return "missing_digits" if class_names == DIGITS else "missing_classes"


def mean_confidence(logits: Tensor) -> float:
    """Mean probability of the likeliest class, [1 / classes, 1], from (n, classes) logits."""
    return logits.double().softmax(1).amax(1).mean().item()


def mean_interval(name: str, values: Tensor) -> dict[str, float]:
    """Mean `name` of independent values, with its 95 % interval from `name`/low to `name`/high.

    By the central limit theorem, so of some dozens of values, (n,), or more; at least 2.
    """
    exact = values.double()
    mean = exact.mean().item()
    margin = NORMAL_QUANTILE * exact.std().item() / len(values) ** 0.5
    return {name: mean, f"{name}/low": mean - margin, f"{name}/high": mean + margin}


def _kernel_sum(x: Tensor, y: Tensor | None = None) -> float:
    """Sum of the kernel over all pairs of a row of x and one of y; or of two other rows of x."""
    others = x if y is None else y
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for start, rows in _chunks(x / x.shape[1], others):
        kernel = torch.mm(rows, others.T).add_(1).pow_(3)  # (c, m)
        if y is None:
            kernel.diagonal(start).zero_()
        total += kernel.sum(dtype=torch.float64)
    return total.item()


def _on_grid(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, int]:
    """Both sets as whole numbers of at most b bits, in float64, and the exponent of their grid.

    It is the smallest e with |x| < 2^e for every coordinate of both sets.
    b = floor((51 - ceil(log2 d)) / 2), 22 for d = 84: nearly float32's own 24. Then |x|^2, |y|^2,
    2 x.y and every partial sum of |x|^2 + |y|^2 - 2 x.y stay within 4 d 2^(2b) <= 2^53, so each is
    a whole number that float64 holds exactly. Squared distances are exact whatever the order of
    the sums: chunks, threads, fused multiplication and the processor change nothing, equal rows
    have equal distances, and a copy is at distance 0.
    """
    exponent = frexp(max(real.abs().amax().item(), fake.abs().amax().item()))[1]
    scale = 2.0 ** ((51 - ceil(log2(real.shape[1]))) // 2 - exponent)
    real, fake = ((features.double() * scale).round() for features in (real, fake))
    return real, fake, exponent


def _chunks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Chunks of x, as first row and rows, such that one value for each pair fits in CHUNK_BYTES."""
    rows = max(1, CHUNK_BYTES // (y.element_size() * len(y)))
    for start in range(0, len(x), rows):
        yield start, x[start : start + rows]


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """First row and squared Euclidean distances, (c, m), of chunks of x to all of y."""
    norms = y.square().sum(1)  # (m,)
    for start, rows in _chunks(x, y):
        distances = torch.addmm(norms, rows, y.T, alpha=-2)
        yield start, distances.add_(rows.square().sum(1, keepdim=True))


def _squared_radii(features: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, (n,)."""
    radii = []
    for start, distances in _squared_distances(features, features):
        distances.diagonal(start).fill_(torch.inf)
        radii.append(distances.topk(k, largest=False).values[:, -1])  # kthvalue is far slower
    return torch.cat(radii)


def _require_finite(*features: Tensor) -> None:
    if not all(bool(each.isfinite().all()) for each in features):
        raise NotFiniteError("features must be finite")
