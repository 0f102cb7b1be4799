"""Measures of images themselves, and the ceilings."""

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace
from scipy.stats import bootstrap
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.distribution import mean_interval
from gen_models.metrics.pixels import (
    distorted,
    gaussian_images,
    independent_pixels,
    memorisation,
    nearest,
    principal_components,
    sharpness,
)
from gen_models.seeding import generator


def test_sharpness_against_scipy(digits: MNISTDataModule) -> None:
    images = digits.splits["test"].images[:50].float() / 255
    inner = [laplace(image[0].double().numpy())[1:-1, 1:-1] for image in images]
    found = sharpness(images)
    assert found["laplacian_variance"] == pytest.approx(np.mean([i.var() for i in inner]), rel=1e-5)
    pixels = images.numpy()
    assert found["grey_share"] == pytest.approx(((pixels > 0.1) & (pixels < 0.9)).mean())


@pytest.mark.mnist
def test_grey_share_of_mnist_is_the_known_one(mnist_root: str) -> None:
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    assert sharpness(data.splits["test"].images / 255)["grey_share"] == pytest.approx(
        0.086, abs=0.001
    )


def test_nearest_is_scikit_learns(digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = digits.splits["train"].images[:300].float() / 255
    images = digits.splits["test"].images[:70].float() / 255
    monkeypatch.setattr("gen_models.metrics.pixels.CHUNK_BYTES", 4 * 300 * 64)
    found = nearest(images, reference)
    search = NearestNeighbors(n_neighbors=1).fit(reference.flatten(1).numpy())
    distances, indices = search.kneighbors(images.flatten(1).numpy())
    torch.testing.assert_close(found.distances, torch.from_numpy(distances[:, 0]).float())
    assert found.indices.tolist() == indices[:, 0].tolist()


def test_a_copy_is_at_distance_zero(digits: MNISTDataModule) -> None:
    images = digits.splits["train"].images.float() / 255
    assert nearest(images[100:110], images).distances.eq(0).all()


def test_memorisation_tells_copies_from_new_images(digits: MNISTDataModule) -> None:
    train, test, held_out = (
        digits.splits[name].images.float() / 255 for name in ("train", "test", "validation")
    )
    few = train[:300]
    reference = mean_interval("ratio", memorisation(held_out, few, test))
    assert reference["ratio/low"] < 1 < reference["ratio/high"]  # of neither set
    noise = 0.02 * torch.randn(train.shape, generator=generator("noise"))
    copies = mean_interval("ratio", memorisation(train + noise, few, test))
    assert copies["ratio/high"] < 0.95  # the originals of a quarter are among the few


def test_the_interval_of_memorisation_is_the_bootstraps(digits: MNISTDataModule) -> None:
    train, test, images = (
        digits.splits[name].images[:200].float() / 255 for name in ("train", "test", "validation")
    )
    to_train, to_test = (nearest(images, known).distances.numpy() for known in (train, test))
    drawn = bootstrap(
        (to_train, to_test),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    found = mean_interval("ratio", memorisation(images, train, test))
    assert found["ratio"] == pytest.approx(to_train.mean() / to_test.mean(), rel=1e-5)
    low, high = drawn.confidence_interval
    assert found["ratio/low"] == pytest.approx(low, abs=float(0.1 * (high - low)))
    assert found["ratio/high"] == pytest.approx(high, abs=float(0.1 * (high - low)))


def test_principal_components_are_scikit_learns(digits: MNISTDataModule) -> None:
    images = digits.splits["train"].images.float() / 255
    found = principal_components(images, 10)
    pca = PCA(10, svd_solver="full").fit(images.flatten(1).double().numpy())
    variances = torch.from_numpy(pca.explained_variance_).float() * (1 - 1 / len(images))
    torch.testing.assert_close(found.variances, variances)
    cosines = (found.components @ torch.from_numpy(pca.components_).float().T).diagonal().abs()
    torch.testing.assert_close(cosines, torch.ones(10), atol=1e-4, rtol=0)


def test_independent_pixels_have_the_pixels_distribution_and_no_correlation(
    digits: MNISTDataModule,
) -> None:
    images = digits.splits["train"].images.float() / 255
    noise = independent_pixels(images, 5000, generator=generator("noise"))
    assert noise.shape == (5000, 1, 28, 28)
    torch.testing.assert_close(noise.mean(0), images.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(noise.std(0), images.std(0), atol=0.03, rtol=0)
    left, right = noise[:, 0, 14, 13], noise[:, 0, 14, 14]
    assert abs(torch.stack([left, right]).corrcoef()[0, 1]) < 0.05
    assert torch.stack([images[:, 0, 14, 13], images[:, 0, 14, 14]]).corrcoef()[0, 1] > 0.8


def test_gaussian_images_have_the_fitted_moments(digits: MNISTDataModule) -> None:
    images = 0.4 + digits.splits["train"].images.float() / 255 / 10  # far from where it is cut
    fitted = principal_components(images, 784)
    drawn = gaussian_images(fitted, 20_000, generator=generator("gauss"), shape=(1, 28, 28))
    assert drawn.shape == (20_000, 1, 28, 28)
    torch.testing.assert_close(drawn.mean(0), images.mean(0), atol=1e-3, rtol=0)
    covariance = images.flatten(1).T.cov()
    torch.testing.assert_close(drawn.flatten(1).T.cov(), covariance, atol=1e-4, rtol=0)
    few = gaussian_images(
        principal_components(digits.splits["train"].images.float() / 255, 64),
        100,
        generator=generator("gauss"),
        shape=(1, 28, 28),
    )
    assert 0 == few.min() < few.max() == 1


def test_many_pixels_have_nearly_the_same_principal_components(
    digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits.splits["train"].images.float() / 255
    exact = principal_components(train, 20)
    monkeypatch.setattr("gen_models.metrics.pixels.EXACT", 100)
    state = torch.random.get_rng_state()
    found = principal_components(train, 20)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(found.variances, exact.variances, rtol=0.01, atol=0)
    overlap = (found.components @ exact.components.T).square().sum() / 20
    assert overlap > 0.99


def test_components_without_variance_are_left_out(digits: MNISTDataModule) -> None:
    few = digits.splits["train"].images[:9].float() / 255
    whitened = principal_components(few, 50).whitened(few)
    assert whitened.shape == (9, 8)
    torch.testing.assert_close(whitened.var(0, correction=0), torch.ones(8), rtol=0.01, atol=0)


def test_in_colour_sharpness_is_the_mean_of_the_channels() -> None:
    images = torch.rand(4, 3, 8, 12)
    channels = [sharpness(images[:, [index]]) for index in range(3)]
    for key, value in sharpness(images).items():
        assert value == pytest.approx(sum(each[key] for each in channels) / 3)


def test_an_oblong_image_is_turned_not_sheared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that is turned is as long as before."""
    for name, value in {"ROTATION": torch.pi / 2, "SCALE": 0.0, "SHIFT": 0.0}.items():
        monkeypatch.setattr(f"gen_models.metrics.pixels.{name}", value)
    images = torch.zeros(8, 1, 60, 32)
    images[:, :, 23:37, 14:18] = 1
    y, x = torch.meshgrid(torch.arange(60.0) - 29.5, torch.arange(32.0) - 15.5, indexing="ij")
    turned = distorted(images, generator("turn"))
    spread = ((x**2 + y**2) * turned).sum((1, 2, 3)) / turned.sum((1, 2, 3))
    expected = ((x**2 + y**2) * images).sum((1, 2, 3)) / images.sum((1, 2, 3))
    torch.testing.assert_close(spread, expected, rtol=0.05, atol=0)
