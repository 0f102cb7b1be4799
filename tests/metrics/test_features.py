"""The other feature spaces, against scikit-learn and SciPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA
from torch import Tensor

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.classifier import (
    WEIGHTS,
    load_classifier,
)
from gen_models.metrics.distribution import frechet_distance
from gen_models.metrics.features import SEEDS, feature_spaces, untrained_classifier
from gen_models.metrics.fit_classifier import save_classifier
from gen_models.metrics.pixels import PrincipalComponents, principal_components


@pytest.fixture(scope="module")
def train(digits: MNISTDataModule) -> Tensor:
    return digits.splits["train"].images.float() / 255


@pytest.fixture(scope="module")
def fitted(train: Tensor) -> PrincipalComponents:
    return principal_components(train, 784)


def test_a_data_set_has_the_classifiers_that_there_are(
    train: Tensor, fitted: PrincipalComponents, tmp_path: Path
) -> None:
    without = feature_spaces("digits", tmp_path, train, fitted)
    assert list(without) == ["pixels_50", "random_lenet"]
    path = tmp_path / "classifiers" / "digits_2"
    save_classifier(untrained_classifier(train[:300]), path)
    spaces = feature_spaces("digits", tmp_path, train, fitted)
    assert list(spaces) == ["lenet_2", "pixels_50", "random_lenet"]
    classifier = load_classifier(path)
    assert torch.equal(spaces["lenet_2"].read(train[:9]), classifier.read(train[:9]).features)
    assert spaces["lenet_2"].version == classifier.record["sha256"]


def test_the_distance_in_principal_components_is_that_of_scikit_learns(
    train: Tensor, fitted: PrincipalComponents, digits: MNISTDataModule, tmp_path: Path
) -> None:
    test = digits.splits["test"].images.float() / 255
    fake = 1 - 0.5 * test.flip(3)
    read = feature_spaces("digits", tmp_path, train, fitted)["pixels_50"].read
    pca = PCA(50, whiten=True, svd_solver="full").fit(train.flatten(1).double().numpy())
    x, y = (pca.transform(images.flatten(1).double().numpy()) for images in (test, fake))
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(read(test), read(fake)) == pytest.approx(expected, rel=0.005)


def test_an_untrained_classifier_is_always_the_same_and_standardised(train: Tensor) -> None:
    first = untrained_classifier(train)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    features = untrained_classifier(train).read(train).features
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.read(train).features, features)
    torch.testing.assert_close(features.mean(0), torch.zeros_like(features[0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones_like(features[0]), atol=1e-3, rtol=0)
    assert features.shape[1] > 20  # most others never fire


def test_mnists_other_classifiers_come_with_the_package() -> None:
    for seed in SEEDS:
        record = load_classifier(WEIGHTS / f"mnist_{seed}").record
        assert (record["data"], record["seed"]) == ("mnist", seed)
        assert record["test_accuracy"] > 0.99
        assert (WEIGHTS / f"mnist_{seed}.safetensors").stat().st_size < 300_000
