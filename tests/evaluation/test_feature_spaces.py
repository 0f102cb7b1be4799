"""The other feature spaces, against scikit-learn and SciPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

from gen_models.data.module import MNISTDataModule
from gen_models.evaluation.reference import SEEDS, Reference, add_feature_spaces, reference
from gen_models.metrics.classifier import WEIGHTS, load_classifier
from gen_models.metrics.distribution import frechet_distance
from gen_models.metrics.fit_classifier import save_classifier, untrained_classifier


@pytest.fixture(scope="module")
def real(digits: MNISTDataModule) -> Reference:
    return reference(digits.dataset, load_classifier(WEIGHTS / "digits"))


def test_a_data_set_has_the_classifiers_that_there_are(real: Reference, tmp_path: Path) -> None:
    real.spaces.clear()
    add_feature_spaces(real, "digits", tmp_path)
    assert {*real.spaces} == {"pixels_50", "random_lenet"}
    path = tmp_path / "classifiers" / "digits_2"
    save_classifier(untrained_classifier(real.train[:300]), path)
    add_feature_spaces(real, "digits", tmp_path)
    assert {*real.spaces} == {"lenet_2", "pixels_50", "random_lenet"}
    classifier = load_classifier(path)
    few = real.train[:9]
    assert torch.equal(real.spaces["lenet_2"].read(few), classifier.read(few).features)
    assert real.spaces["lenet_2"].version == classifier.record["sha256"]


def test_the_distance_in_principal_components_is_that_of_scikit_learns(
    real: Reference, tmp_path: Path
) -> None:
    fake = 1 - 0.5 * real.test.flip(3)
    add_feature_spaces(real, "digits", tmp_path)
    read = real.spaces["pixels_50"].read
    train = real.train.flatten(1).double().numpy()
    pca = PCA(50, whiten=True, svd_solver="full").fit(train)
    x, y = (pca.transform(images.flatten(1).double().numpy()) for images in (real.test, fake))
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(read(real.test), read(fake)) == pytest.approx(expected, rel=0.005)


def test_an_untrained_classifier_is_always_the_same_and_standardised(real: Reference) -> None:
    first = untrained_classifier(real.train)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    features = untrained_classifier(real.train).read(real.train).features
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.read(real.train).features, features)
    torch.testing.assert_close(features.mean(0), torch.zeros_like(features[0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones_like(features[0]), atol=1e-3, rtol=0)
    assert features.shape[1] > 20  # most others never fire


def test_mnists_other_classifiers_come_with_the_package() -> None:
    for seed in SEEDS:
        record = load_classifier(WEIGHTS / f"mnist_{seed}").record
        assert (record["data"], record["seed"]) == ("mnist", seed)
        assert record["test_accuracy"] > 0.99
        assert (WEIGHTS / f"mnist_{seed}.safetensors").stat().st_size < 300_000
