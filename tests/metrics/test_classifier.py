"""The fixed classifier: its training, its files, and the distances made of its features."""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.metrics.classifier import (
    WEIGHTS,
    WIDTH,
    Classifier,
    LeNet,
    classifier_path,
    load_classifier,
)
from gen_models.metrics.distribution import (
    frechet_distance,
    kernel_distance,
)
from gen_models.metrics.fit_classifier import (
    feature_statistics,
    save_classifier,
    train_classifier,
)
from gen_models.metrics.pixels import (
    distorted,
)
from gen_models.seeding import generator

SHIPPED = ["mnist", "digits"]


@pytest.fixture(scope="module")
def trained(digits: MNISTDataModule) -> Classifier:
    return train_classifier(digits.splits, name="digits", epochs=4)


def test_training_learns_and_leaves_the_global_generator_alone(digits: MNISTDataModule) -> None:
    before = torch.random.get_rng_state()
    steps: list[tuple[int, int]] = []
    train = partial(train_classifier, digits.splits, name="digits", epochs=2)
    first = train(seed=1, on_step=lambda *step: steps.append(step))
    assert torch.equal(before, torch.random.get_rng_state())
    assert steps == [(i, 20) for i in range(1, 21)]  # 1297 // 128 steps an epoch
    assert first.record["test_accuracy"] > 0.7
    again, other = (train(seed=seed) for seed in (1, 2))
    images = digits.splits["test"].images
    assert torch.equal(first.read(images).logits, again.read(images).logits)
    assert not torch.equal(first.read(images).logits, other.read(images).logits)


def test_accuracy_is_the_share_of_labels_found(
    trained: Classifier, digits: MNISTDataModule
) -> None:
    test = digits.splits["test"]
    with torch.no_grad():
        logits = trained.network(test.images.float() / 255)
    found = (logits.argmax(1) == test.labels).sum().item() / 300
    assert trained.record["test_accuracy"] == trained.accuracy(test) == pytest.approx(found)


def test_it_is_frozen_and_no_module(trained: Classifier, digits: MNISTDataModule) -> None:
    assert not isinstance(trained, nn.Module)  # or it would become part of a model
    assert not trained.network.training
    assert not any(weight.requires_grad for weight in trained.network.parameters())
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    trained.read(digits.splits["test"].images)  # batch normalisation counts nothing
    after = trained.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_logits_are_of_the_penultimate_features() -> None:
    network = LeNet().eval()
    images = torch.rand(3, 1, 28, 28)
    features = network.features(images)
    assert features.shape == (3, WIDTH)
    assert features.min() >= 0
    expected = features @ network.last.weight.T + network.last.bias
    torch.testing.assert_close(network(images), expected)


def test_features_are_standardised_by_the_training_images(
    trained: Classifier, digits: MNISTDataModule
) -> None:
    images = digits.splits["train"].images
    read = trained.read(images)
    kept = WIDTH - len(trained.record["silent"])
    assert read.features.shape == (len(images), kept)
    torch.testing.assert_close(read.features.mean(0), torch.zeros(kept), atol=1e-4, rtol=0)
    torch.testing.assert_close(read.features.std(0), torch.ones(kept), atol=1e-4, rtol=0)
    torch.testing.assert_close(trained.read(images.float() / 255), read)  # either form
    assert torch.equal(read.labels, read.logits.argmax(1))


def test_features_that_never_fire_are_left_out(digits: MNISTDataModule) -> None:
    network = LeNet().eval().requires_grad_(False)
    network.penultimate.bias.fill_(0.1)
    network.penultimate.bias[[3, 50]] = -1e4
    statistics = feature_statistics(network, digits.splits["train"].images)
    assert {3, 50} <= set(statistics["silent"])
    read = Classifier(network, dict(statistics)).read(digits.splits["test"].images)
    assert read.features.shape == (300, WIDTH - len(statistics["silent"]))
    assert read.features.isfinite().all()


def test_distorted_images_are_the_same_digits_moved_a_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = F.pad(torch.rand(50, 1, 16, 16, generator=generator("images")), (6, 6, 6, 6))
    moved = distorted(images, generator("a"))
    assert moved.shape == images.shape
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert torch.equal(moved, distorted(images, generator("a")))
    assert ((moved - images).abs().flatten(1).amax(1) > 0.1).all()
    torch.testing.assert_close(moved.sum(), images.sum(), rtol=0.05, atol=0)
    for name in ("ROTATION", "SCALE"):
        monkeypatch.setattr(f"gen_models.metrics.pixels.{name}", 0.0)
    assert all(centre_shift(images, distorted(images, generator("b"))) <= 2.01)
    monkeypatch.setattr("gen_models.metrics.pixels.SHIFT", 0.0)
    torch.testing.assert_close(distorted(images, generator("b")), images, atol=1e-4, rtol=0)


def centre_shift(images: Tensor, moved: Tensor) -> Tensor:
    """Pixels by which the centre of mass moves along x."""
    x = torch.arange(28.0)
    first, second = ((i.sum((1, 2)) * x).sum(1) / i.sum((1, 2, 3)) for i in (images, moved))
    return (first - second).abs()


# -- files -----------------------------------------------------------------------------------------


def test_saved_and_loaded_it_reads_the_same(
    trained: Classifier, digits: MNISTDataModule, tmp_path: Path
) -> None:
    path = tmp_path / "classifiers" / "digits"
    save_classifier(trained, path)
    loaded = load_classifier(path)
    assert loaded.record.items() >= trained.record.items()
    images = digits.splits["test"].images
    for one, other in zip(trained.read(images), loaded.read(images), strict=True):
        assert torch.equal(one, other)
    assert not loaded.network.training


def test_half_a_file_is_never_found(
    trained: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit(137)

    path = tmp_path / "digits"
    for where in ("gen_models.metrics.fit_classifier.write_json", "os.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(where, killed)
            with pytest.raises(SystemExit):
                save_classifier(trained, path)
        assert not path.with_suffix(".safetensors").exists()
    save_classifier(trained, path)
    load_classifier(path)


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
def test_a_missing_file_is_named(trained: Classifier, tmp_path: Path, ending: str) -> None:
    save_classifier(trained, tmp_path / "digits")
    missing = tmp_path / f"digits{ending}"
    missing.unlink()
    with pytest.raises(UserError, match=f"digits{ending}: the classifier's file is missing"):
        load_classifier(tmp_path / "digits")


def test_weights_of_another_record_are_refused(trained: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "digits"
    save_classifier(trained, path)
    path.with_suffix(".safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="does not hold the weights of its record"):
        load_classifier(path)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(UserError, match="not one of our files"):
        load_classifier(path)


def test_where_a_classifier_belongs(tmp_path: Path) -> None:
    for name in SHIPPED:
        assert classifier_path(name, tmp_path) == WEIGHTS / name
    assert classifier_path("fashion_mnist", tmp_path) == tmp_path / "classifiers" / "fashion_mnist"


# -- the classifiers of the package ----------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_classifiers_are_small_and_recorded(name: str) -> None:
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 2e6
    classifier = load_classifier(WEIGHTS / name)
    assert classifier.record["data"] == name
    assert classifier.record.keys() >= {"test_accuracy", "seed", "versions", "sha256"}


def test_shipped_classifier_of_digits_is_as_recorded(digits: MNISTDataModule) -> None:
    classifier = load_classifier(WEIGHTS / "digits")
    assert classifier.accuracy(digits.splits["test"]) == classifier.record["test_accuracy"]
    features = classifier.read(digits.splits["train"].images).features
    torch.testing.assert_close(features.mean(0), torch.zeros_like(features[0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones_like(features[0]), atol=1e-3, rtol=0)


@pytest.mark.mnist
def test_shipped_classifier_of_mnist_is_as_recorded(mnist_root: str) -> None:
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    classifier = load_classifier(WEIGHTS / "mnist")
    accuracy = classifier.accuracy(data.splits["test"])
    assert accuracy == pytest.approx(classifier.record["test_accuracy"], abs=2e-4)
    assert accuracy >= 0.993


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_its_distances_rise_with_noise_blur_and_dropped_digits(
    digits: MNISTDataModule, distance: Callable[[Tensor, Tensor], float]
) -> None:
    classifier = load_classifier(WEIGHTS / "digits")
    real = classifier.read(digits.splits["train"].images[:600]).features
    images = digits.splits["train"].images[600:].float() / 255
    labels = digits.splits["train"].labels[600:]
    noise = torch.randn(images.shape, generator=generator("noise"))
    series = {
        "noise": [(images + strength * noise).clamp(0, 1) for strength in (0.0, 0.2, 0.4, 0.6)],
        "blur": [images, *(gaussian_blur(images, [9, 9], [s, s]) for s in (1.0, 2.0, 3.0))],
        "dropped": [images[labels >= first] for first in (0, 2, 5, 8)],
    }
    for name, worse in series.items():
        found = [distance(real, classifier.read(fakes).features) for fakes in worse]
        assert found == sorted(found), (name, found)
        assert found[1] > 1.1 * found[0], (name, found)
