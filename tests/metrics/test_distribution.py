"""Distances between feature matrices, against closed forms, torchmetrics and prdc."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gen_models.metrics.distribution import (
    Coverage,
    Overlap,
    frechet_distance,
    histogram_divergence,
    kernel_distance,
    label_histogram,
    mean_confidence,
    mean_interval,
    missing_classes,
    precision_recall_density_coverage,
)
from gen_models.seeding import generator


def normal(n: int, d: int, *purpose: int | str) -> Tensor:
    return torch.randn(n, d, generator=generator("test", *purpose), dtype=torch.float64)


def whitened(n: int, d: int, *purpose: int | str) -> Tensor:
    """Rows whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = normal(n, d, *purpose)
    x = x - x.mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T


class Identity(nn.Module):
    """torchmetrics' feature extractor for what are features already."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.num_features = d

    def forward(self, features: Tensor) -> Tensor:
        return features


# -- Frechet distance ------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_that_do_not_commute() -> None:
    first = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    second = torch.tensor([[1.0, -1.5], [0.0, 1.0]], dtype=torch.float64)
    s1, s2 = first @ first.T, second @ second.T
    assert not torch.allclose(s1 @ s2, s2 @ s1)
    # 2 x 2: tr(M^(1/2))^2 = tr M + 2 det(M)^(1/2)
    root = ((s1 @ s2).trace() + 2 * (s1 @ s2).det().sqrt()).sqrt()
    expected = (s1.trace() + s2.trace() - 2 * root).item()
    x, y = whitened(300, 2, "x"), whitened(400, 2, "y")
    assert frechet_distance(x @ first.T, y @ second.T) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_is_zero_for_identical_sets_and_order_free() -> None:
    x, y = normal(300, 20, "x").relu(), 1.1 * normal(400, 20, "y").relu()
    assert frechet_distance(x, x) < 1e-7
    expected = frechet_distance(x, y)
    order = torch.randperm(400, generator=generator("order"))
    assert frechet_distance(x, y[order]) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_features_that_never_vary() -> None:
    x = torch.cat([normal(100, 3, "x"), torch.zeros(100, 2)], 1)
    assert frechet_distance(x, x + 1) == pytest.approx(5.0, abs=1e-6)


def test_frechet_distance_is_torchmetrics() -> None:
    x, y = normal(700, 16, "x").relu().float(), 0.3 + normal(500, 16, "y").relu().float()
    metric = FrechetInceptionDistance(feature=Identity(16))
    metric.update(x, real=True)
    metric.update(y, real=False)
    assert frechet_distance(x, y) == pytest.approx(metric.compute().item(), rel=1e-4)


# -- kernel distance -------------------------------------------------------------------------------


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    x, y = normal(7, 3, "x"), normal(5, 3, "y") + 0.5

    def kernel(a: Tensor, b: Tensor) -> float:
        return (a.dot(b).item() / 3 + 1) ** 3

    def within(rows: Tensor) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    cross = sum(kernel(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(within(x) + within(y) - 2 * cross, rel=1e-4)
    assert kernel_distance(x, x) == kernel_distance(x, x.clone())


def test_kernel_distance_is_torchmetrics() -> None:
    x, y = normal(300, 16, "x").float(), normal(300, 16, "y").float() * 1.3 + 0.2
    with pytest.warns(UserWarning, match="save all extracted features"):
        metric = KernelInceptionDistance(feature=Identity(16), subsets=1, subset_size=300)
    metric.update(x, real=True)
    metric.update(y, real=False)
    expected = metric.compute()[0].item()
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-3)


def test_kernel_distance_of_chunks_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(101, 8, "x"), normal(90, 8, "y") + 0.3
    expected = kernel_distance(x, y)
    monkeypatch.setattr("gen_models.metrics.distribution.CHUNK_BYTES", 4 * 90 * 7)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-6)


# -- precision, recall, density, coverage ----------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_overlap_is_prdc(k: int) -> None:
    x, y = normal(400, 10, "x"), normal(300, 10, "y") * 0.8 + 0.1
    expected = compute_prdc(x.numpy(), y.numpy(), nearest_k=k)
    found = precision_recall_density_coverage(x, y, k=k)
    assert found._asdict() == pytest.approx(expected, abs=1e-12)
    assert 0 < found.recall < 1


def with_copies(n: int, m: int, d: int) -> tuple[Tensor, Tensor]:
    """What a model makes that memorises real images, and collapses on one of them."""
    x, y = normal(n, d, "x").relu(), normal(m, d, "y").relu() * 0.8 + 0.1
    x[:30] = x[30:60]  # real images twice
    y[: m // 3] = x[: m // 3]  # memorised
    y[m // 3 : m // 2] = x[7]  # collapsed
    return x, y


def by_hand(x: Tensor, y: Tensor, k: int) -> Overlap:
    """Naeem et al. 2020 on a grid of 22 bits, for d = 84, by differences of whole numbers."""
    largest = max(x.abs().max().item(), y.abs().max().item())
    bits = (51 - math.ceil(math.log2(x.shape[1]))) // 2
    scale = 2.0 ** (bits - math.frexp(largest)[1])
    a, b = ((scale * rows.double()).round().numpy() for rows in (x, y))

    def radii(rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.sort(cdist(rows, rows, "sqeuclidean"), 1)[:, k])  # [:, 0]: itself

    between = cdist(a, b, "sqeuclidean")
    inside = between < radii(a)[:, None]
    return Overlap(
        precision=inside.any(0).mean(),
        recall=(between < radii(b)).any(1).mean(),
        density=inside.sum(0).mean() / k,
        coverage=(between.min(1) < radii(a)).mean(),
    )


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("size", [1e-3, 1.0, 3e5])
def test_overlap_of_copies_is_counted_by_hand(k: int, size: float) -> None:
    x, y = (size * rows for rows in with_copies(400, 300, 84))
    found = precision_recall_density_coverage(x, y, k=k)
    assert found._asdict() == pytest.approx(by_hand(x, y, k)._asdict(), abs=1e-12)
    assert Coverage(x, k=k)(y) == found.coverage


@pytest.mark.parametrize("k", [1, 5])
def test_chunks_and_threads_change_nothing(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = with_copies(403, 301, 84)
    x, y = x.float(), y.float()
    expected = by_hand(x, y, k)
    shares = Coverage(x, k=k)
    order = torch.randperm(403, generator=generator("order"))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for rows in (1, 7, 64, 1000):
            monkeypatch.setattr("gen_models.metrics.distribution.CHUNK_BYTES", 8 * 301 * rows)
            for real in (x, x[order]):
                found = precision_recall_density_coverage(real, y, k=k)
                assert found._asdict() == pytest.approx(expected._asdict(), abs=1e-12), (
                    threads,
                    rows,
                )
            assert shares(y) == Coverage(x, k=k)(y) == expected.coverage


@pytest.mark.parametrize("d", [1, 2, 3, 64, 84, 1000])
def test_distances_are_exact_at_the_bound_of_the_grid(d: int) -> None:
    """Each coordinate is as large as it may be, of either sign, but for the last bits of a few."""
    signs = normal(60, d, "signs").sign()
    signs[10:20] = signs[:10]
    rows = 3.999999999 * signs
    rows[::7, 0] *= 1 - 1e-5
    x, y = rows[:30], rows[30:]
    y[0] = -x[0]
    y[1:5] = x[1:5]
    found = precision_recall_density_coverage(x, y, k=2)
    assert found._asdict() == pytest.approx(by_hand(x, y, 2)._asdict(), abs=1e-12)


def test_coverage_keeps_the_grid_of_all_sets_that_it_compares() -> None:
    x, y = with_copies(300, 250, 20)
    shares = Coverage(x, k=3)
    for fake in (y, 100 * y, y, torch.cat([y, torch.full((1, 20), 1e4)])):
        assert shares(fake) == precision_recall_density_coverage(x, fake, k=3).coverage
    assert Coverage(x, k=1)(torch.zeros(10, 20, dtype=torch.float64)) == pytest.approx(
        precision_recall_density_coverage(x, torch.zeros(10, 20), k=1).coverage
    )


# -- labels ----------------------------------------------------------------------------------------


def test_label_histogram_and_its_divergence() -> None:
    real = label_histogram(torch.arange(10).repeat(5), classes=10)
    assert real.tolist() == pytest.approx([0.1] * 10)
    collapsed = label_histogram(torch.full((7,), 4), classes=10)
    assert histogram_divergence(collapsed, real) == pytest.approx(math.log(10))
    assert histogram_divergence(real, real) == 0
    uneven = label_histogram(torch.tensor([0, 0, 0, 1]), classes=2)
    even = torch.tensor([0.5, 0.5], dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(uneven), torch.distributions.Categorical(even)
    )
    assert histogram_divergence(uneven, even) == pytest.approx(expected.item())


def test_missing_classes_forgives_a_few_errors_of_the_classifier() -> None:
    real = label_histogram(torch.arange(10).repeat(100), classes=10)
    labels = torch.arange(10).repeat(100)
    assert missing_classes(real, real) == 0
    labels[(labels == 3) | (labels == 8)] = 1
    labels[:2] = 3  # two errors
    assert missing_classes(label_histogram(labels, classes=10), real) == 2


def test_mean_confidence() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    assert mean_confidence(logits) == pytest.approx((0.5 + 0.75) / 2)


# -- intervals and bad input -----------------------------------------------------------------------


def test_mean_interval_covers_its_share() -> None:
    covered = 0
    for i in range(300):
        drawn = torch.rand(64, generator=generator("interval", i))
        found = mean_interval("mean", drawn)
        value, low, high = (found[key] for key in ("mean", "mean/low", "mean/high"))
        assert low < value < high
        covered += low <= 0.5 <= high
    assert 0.91 < covered / 300 < 0.98


@pytest.mark.parametrize(
    "distance",
    [
        frechet_distance,
        kernel_distance,
        precision_recall_density_coverage,
        lambda real, fake: Coverage(real)(fake),
    ],
)
def test_bad_features_are_refused(distance: Callable[[Tensor, Tensor], object]) -> None:
    good = normal(10, 4, "good")
    bad = good.clone()
    bad[3, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        distance(good, bad)
