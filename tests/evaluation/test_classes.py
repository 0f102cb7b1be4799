"""Whether a conditional model draws the digit that is asked, on request and as measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import make_run
from test_cli import call
from torch import Tensor, nn

from gen_models.data.dataset import Split
from gen_models.data.module import MNISTDataModule
from gen_models.evaluation.measure import measure_classes
from gen_models.evaluation.reference import Reference, reference
from gen_models.evaluation.sampling import draw_images, write_images
from gen_models.metrics.classifier import classifier_path, load_classifier
from gen_models.metrics.distribution import frechet_distance, within_class_distance
from gen_models.models.gan import GAN
from gen_models.models.interface import GenerativeModel
from gen_models.models.vae import VAE
from gen_models.runs.weights import save_model


class Shows(GenerativeModel):
    """Draws the digit that is asked plus `shift`, one image of each class."""

    def __init__(self, images: Tensor, shift: int = 0) -> None:
        super().__init__(noise_dim=0, conditional=True, prior_kind="normal")
        self.images, self.shift = images, shift

    def decode(self, z: Tensor) -> Tensor:
        return self.images[(z.argmax(1) + self.shift) % 10]

    def decoding_weights(self) -> list[nn.Parameter]:
        return []


@pytest.fixture(scope="module")
def real() -> Reference:
    datamodule = MNISTDataModule(name="digits")
    datamodule.setup()
    return reference(datamodule.dataset, load_classifier(classifier_path("digits", Path("data"))))


@pytest.fixture(scope="module")
def of_each(real: Reference) -> Tensor:
    """A training image of each digit that the classifier knows, (10, 1, 28, 28)."""
    known = real.classifier.read(real.train).labels == real.train_labels
    rows = [(known & (real.train_labels == digit)).nonzero()[0, 0] for digit in range(10)]
    return real.train[torch.stack(rows)]


def test_the_digit_that_was_asked_is_the_digit_that_is_seen(
    real: Reference, of_each: Tensor
) -> None:
    right, wrong = (measure_classes(Shows(of_each, shift), real) for shift in (0, 1))
    assert right["class_accuracy"] == 1.0
    assert wrong["class_accuracy"] == 0.0
    assert right["real/class_accuracy"] == wrong["real/class_accuracy"]
    expected = real.classifier.accuracy(Split(real.test, real.labels))
    assert right["real/class_accuracy"] == expected
    key = "fid_lenet/within_class"
    assert right[f"floor/{key}"] < right[key] < wrong[key]


def test_a_model_that_is_not_conditional_has_no_such_metric(real: Reference) -> None:
    assert measure_classes(VAE(latent_dim=12, encoder_dims=[4]), real) == {}


def test_the_distance_within_a_class_sees_what_the_whole_hides() -> None:
    noise = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    real = torch.randn(400, 3, generator=noise) + 10 * labels.unsqueeze(1)
    assert within_class_distance(real, real, labels, labels) == pytest.approx(0, abs=1e-9)
    swapped = 1 - labels  # the same crowd under the other label
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    expected = (
        frechet_distance(real[labels == 0], real[labels == 1])
        + frechet_distance(real[labels == 1], real[labels == 0])
    ) / 2
    assert within_class_distance(real, real, labels, swapped) == pytest.approx(expected)
    assert expected > 250  # 3 coordinates, 10 apart each


def test_all_or_one_digit_is_drawn(of_each: Tensor, tmp_path: Path) -> None:
    model = Shows(of_each)
    every = draw_images(model, 1013, 0)
    assert torch.equal(every[:20], torch.cat([of_each, of_each]))
    assert torch.equal(every[-3:], of_each[:3])
    sevens = draw_images(model, 5, 0, label=7)
    assert torch.equal(sevens, of_each[7].expand(5, 1, 28, 28))
    write_images(every[:23], tmp_path / "grid.png", classes=10)
    with Image.open(tmp_path / "grid.png") as image:
        grid = np.asarray(image)[1::3, 1::3]
    assert grid.shape == (10 * 29 + 1, 3 * 29 + 1)
    for digit in range(10):
        row = grid[29 * digit + 1 : 29 * digit + 29]
        expected = of_each[digit, 0].mul(255).round().numpy()
        for column in range(3):
            cell = row[:, 29 * column + 1 : 29 * column + 29]
            if 10 * column + digit < 23:
                assert np.array_equal(cell, expected)
            else:
                assert (cell == 128).all()


def test_a_digit_is_asked_on_the_command_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan", "data=digits", fid=None)
    save_model(run, GAN(latent_dim=5, generator_dims=[8], conditional=True))
    found = {}
    for name, options in {"all": (), "seven": ("--digit", 7), "class": ("--class", 7)}.items():
        output = tmp_path / f"{name}.npy"
        code, text = call("sample", run.path, "--count", 20, "--output", output, *options)
        assert code == 0, text
        found[name] = np.load(output)
    assert np.array_equal(found["seven"], found["class"])
    # the same noise with another label: image 7 and image 17 were asked for a 7 both times
    assert np.array_equal(found["seven"][7::10], found["all"][7::10])
    assert not np.array_equal(found["seven"][0], found["all"][0])
    save_model(run, GAN(latent_dim=12, generator_dims=[8]))
    code, text = call("sample", run.path, "--digit", 7, "--output", tmp_path / "x.npy")
    assert (code, text.count("\n")) == (1, 1)
    assert "--class/--digit 7: this GAN is not conditional" in text
    save_model(run, GAN(latent_dim=5, generator_dims=[8], conditional=True, classes=3))
    for label in (-1, 3):
        code, text = call("sample", run.path, "--class", label, "--output", tmp_path / "x.npy")
        assert (code, text.count("\n")) == (1, 1)
        assert f"--class/--digit {label}: this model draws the classes 0 to 2" in text
    assert not (tmp_path / "x.npy").exists()
