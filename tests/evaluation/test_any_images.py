"""Images of another shape than MNIST's, in colour, with other classes or without labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gen_models.data.dataset import Dataset, Split
from gen_models.data.module import MNISTDataModule
from gen_models.evaluation.bounds import measure_bounds
from gen_models.evaluation.measure import Effort, Evaluation, measure
from gen_models.evaluation.reference import FLOOR_SAMPLES, add_feature_spaces, reference
from gen_models.metrics.fit_classifier import untrained_classifier
from gen_models.models.vae import VAE
from gen_models.runs import classifier as classifiers
from gen_models.runs.classifier import find_classifier
from gen_models.runs.directory import features_in_words, features_record

LITTLE = Effort(restarts=1, iterations=3, importance_samples=2, likelihood_images=6)
OF_CLASSES = {"label_kl", "missing_digits", "missing_classes", "confidence", "class_accuracy",
              "real/class_accuracy", "fid_lenet/within_class"}  # fmt: skip


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A classifier that is trained in a second, and found by no other test."""
    monkeypatch.setattr("gen_models.metrics.fit_classifier.LEAST_STEPS", 50)
    monkeypatch.setattr("gen_models.metrics.fit_classifier.EPOCHS", 1)
    monkeypatch.setattr(classifiers, "_in_memory", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def squares(count: int, shape: tuple[int, int, int], classes: int = 1) -> tuple[Tensor, Tensor]:
    """A bright square somewhere on a dark ground, the larger the higher its class."""
    noise = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=noise)
    images = torch.randint(60, (count, *shape), generator=noise)
    for image, label in zip(images, labels.tolist(), strict=True):
        side = 3 + 2 * label
        x, y = (int(torch.randint(size - side, (), generator=noise)) for size in shape[:0:-1])
        image[:, y : y + side, x : x + side] += 180
    return images.to(torch.uint8), labels


def written(folder: Path, shape: tuple[int, int, int], classes: int) -> MNISTDataModule:
    """The images as a user keeps them: in a file, in a folder of its own."""
    images, labels = squares(400, shape, classes)
    arrays = {"images": images.movedim(1, -1).squeeze(-1).numpy()}
    if classes > 1:
        arrays["labels"] = 7 * labels.numpy()  # any integers
    folder.mkdir()
    np.savez(folder / "mine.npz", **arrays)
    data = MNISTDataModule(name="mine", source="npz", root=folder / "mine.npz")
    data.setup()
    return data


def evaluated(data: MNISTDataModule, *, conditional: bool = False) -> Evaluation:
    """All metrics and bounds of a model that was not trained."""
    real = reference(data.dataset, find_classifier(data, lambda line: None))
    add_feature_spaces(real, data.key, data.root)
    facts = {"image_shape": data.image_shape, "classes": len(data.class_names)}
    model = VAE(latent_dim=4, encoder_dims=[8], conditional=conditional, **facts).eval()
    evaluation = measure(model, real, effort=LITTLE)
    return evaluation._replace(metrics=evaluation.metrics | measure_bounds(real))


def test_colour_with_four_classes_is_measured_as_digits_are(tmp_path: Path) -> None:
    data = written(tmp_path / "data", (3, 16, 16), 4)
    metrics, arrays = evaluated(data, conditional=True)
    assert OF_CLASSES - metrics.keys() == {"missing_digits"}
    assert metrics["real/classes"] == 4
    assert metrics["missing_classes"] > metrics["floor/missing_classes"] == 0
    assert metrics["floor/samples"] == metrics["samples"]
    for key in ("fid_lenet", "kid_lenet", "features/pixels_50", "features/random_lenet"):
        assert metrics[f"floor/{key}"] < metrics[key]
    assert all(np.isfinite(value) for value in metrics.values())
    assert arrays["pictures_traversal"].shape[2:] == (16, 16, 3)
    assert [path.name for path in data.root.parent.iterdir()] == ["mine.npz"]  # nothing beside


def test_the_classifier_of_ones_own_images_learns_and_is_found_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(tmp_path / "data", (1, 12, 20), 3)
    first = find_classifier(data, print)
    assert first.record["test_accuracy"] > 0.9
    assert (first.classes, first.record["image_shape"]) == (3, [1, 12, 20])
    monkeypatch.setattr(classifiers, "_in_memory", {})
    monkeypatch.delattr(classifiers, "train_classifier")
    moved = data.root.rename(tmp_path / "elsewhere.npz")  # its content counts, not its place
    again = MNISTDataModule(name="mine", source="npz", root=moved)
    images = data.dataset.splits["test"].images
    found = find_classifier(again, print)
    assert torch.equal(found.read(images).features, first.read(images).features)
    assert f"knows {100 * first.record['test_accuracy']:.1f} %" in features_in_words(
        features_record(found)
    )


def test_without_labels_classes_are_left_out_and_all_else_is_measured(tmp_path: Path) -> None:
    data = written(tmp_path / "data", (1, 40, 24), 1)
    metrics, arrays = evaluated(data)
    bases = {key.removeprefix("floor/").removeprefix("noise/") for key in metrics}
    assert not OF_CLASSES & bases
    assert "real/confidence" not in metrics
    assert "features/random_lenet" not in metrics  # it is `fid_lenet`
    assert "test_labels" not in arrays
    for key in ("fid_lenet", "features/pixels_50"):
        assert metrics[f"floor/{key}"] < metrics[key]
    assert metrics["floor/coverage"] > metrics["coverage"]
    assert metrics["floor/samples"] == metrics["samples"]
    assert metrics["encoder/mse"] > 0
    record = features_record(find_classifier(data, print))
    assert record["features"] == "random weights"
    assert "because its images have no labels" in features_in_words(record)


def test_a_poor_classifier_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "data", (1, 8, 8), 2)
    monkeypatch.setattr(classifiers, "POOR", 1.01)
    said: list[str] = []
    classifier = find_classifier(data, said.append)
    assert classifier.classes == 0
    assert classifier.read(data.dataset.splits["test"].images).logits is None
    assert "knows only" in said[-1]
    assert "random weights" in said[-1]


@pytest.mark.parametrize(
    ("validation", "test", "count", "measured"),
    [(30, 50, 10_000, 30), (50, 30, 10_000, 30), (50, 50, 20, 20), (FLOOR_SAMPLES, 5002, 5002, 0)],
)
def test_a_distance_and_its_floor_are_of_as_many_images(
    validation: int, test: int, count: int, measured: int
) -> None:
    """Only a floor of 5,000 or more images may be of fewer than a model's, as MNIST's is."""
    sizes = {"train": 20, "validation": validation, "test": test}
    splits = {name: Split(torch.zeros(n, 1, 8, 8).byte(), None) for name, n in sizes.items()}
    classifier = untrained_classifier(squares(20, (1, 8, 8))[0])
    real = reference(Dataset(splits, ()), classifier, count=count)
    assert len(real.test) == min(test, count)
    assert len(real.equal.test) == (measured or count)


def test_few_images_and_many_classes(tmp_path: Path) -> None:
    """Fewer images than principal components; classes of which some have one image or none."""
    images, _ = squares(30, (1, 16, 16))
    labels = torch.arange(30) * 37 % 1000
    parts = {"train": slice(0, 18), "validation": slice(18, 24), "test": slice(24, 30)}
    splits = {name: Split(images[rows], labels[rows]) for name, rows in parts.items()}
    own = classifiers.train_classifier(splits, name="few", classes=1000)
    real = reference(Dataset(splits, tuple(map(str, range(1000)))), own)
    model = VAE(latent_dim=4, encoder_dims=[8], conditional=True, image_shape=(1, 16, 16),
                classes=1000).eval()  # fmt: skip
    add_feature_spaces(real, "few", tmp_path)
    metrics = measure(model, real, effort=LITTLE).metrics | measure_bounds(real)
    assert all(np.isfinite(value) for value in metrics.values())
    assert "class_accuracy" in metrics
    assert "fid_lenet/within_class" not in metrics  # no class has two images
