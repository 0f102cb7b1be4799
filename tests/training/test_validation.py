"""The objective while training: measured when it should be, followed by best.ckpt, warned of."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Trained, read_curves, read_metrics, train
from lightning.pytorch.trainer.states import TrainerFn
from torchmetrics.image.fid import FrechetInceptionDistance

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.classifier import classifier_path, load_classifier
from gen_models.models.gan import GAN
from gen_models.runs import load_model
from gen_models.seeding import generator
from gen_models.training.validation import OBJECTIVE, ValidationDistance, saturated

EVERY = "callbacks.validation_distance.every_n_epochs"


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_the_last_figure_is_that_of_torchmetrics(
    model: str, trained: Trained, digits: MNISTDataModule
) -> None:
    run = trained(f"model={model}")
    classifier = load_classifier(classifier_path("digits", Path("data")))
    real = digits.splits["validation"].images
    made = load_model(run.path).sample(len(real), generator("validation distance"))

    class Features(torch.nn.Module):
        num_features = classifier.read(real[:2]).features.shape[1]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return classifier.read(images).features

    reference = FrechetInceptionDistance(Features(), normalize=True)
    reference.set_dtype(torch.float64)
    with torch.no_grad():
        reference.update(real.float() / 255, real=True)
        reference.update(made, real=False)
    measured = read_metrics(run)[OBJECTIVE]
    assert measured == pytest.approx(reference.compute().item(), rel=1e-3)
    assert run.read_status()["objective"] == measured


def test_it_is_measured_in_every_nth_epoch_and_the_last_and_best_follows(trained: Trained) -> None:
    run = trained("model=vae", f"{EVERY}=2", epochs=5)
    batches, values = read_curves(run.path)[OBJECTIVE]
    assert batches == [8, 16, 20]
    assert read_curves(run.path)["val/coverage"][0] == batches
    best = torch.load(run.checkpoints / "best.ckpt", weights_only=True)
    assert best["global_step"] == batches[values.index(min(values))]


def test_the_classifier_is_no_part_of_the_model(trained: Trained) -> None:
    run = trained("model=gan")
    saved = torch.load(run.checkpoints / "latest.ckpt", weights_only=True)["state_dict"]
    networks = GAN(generator_dims=(128, 256), discriminator_dims=(256, 128), ema_decay=0.99)
    assert set(saved) == set(networks.state_dict())


def test_without_the_callback_there_is_no_objective(trained: Trained) -> None:
    run = trained("model=gan", "~callbacks.validation_distance")
    assert run.read_status()["objective"] is None
    assert not (run.checkpoints / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"val/missing_digits": 3.0}, "missing from the new images: 3 of 10"),
        ({"val/missing_digits": 0.0, "val/d_real": 0.999, "val/d_fake": 0.001}, "discriminator"),
    ],
)
def test_a_collapse_is_warned_of_once(
    figures: dict[str, float], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    fine = {"val/missing_digits": 0.0, "val/d_real": 0.7, "val/d_fake": 0.3}
    callback = ValidationDistance()
    warned = []
    for shown in (figures, fine, figures, figures, figures, fine, figures, figures):
        metrics = {key: torch.tensor(value) for key, value in shown.items()}
        trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=9)
        again = ValidationDistance()  # as a resumed run would
        again.load_state_dict(callback.state_dict())
        callback = again
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            callback._warn(trainer)
        warned.append(len(caplog.messages))
        assert all(message.startswith("epoch 10: ") for message in caplog.messages)
        assert all(word in message for message in caplog.messages)
    assert warned == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("spread", "d_real", "d_fake", "steps", "warned"),
    [
        (0.01, 0.99, 0.04, 429, 1),
        (0.2, 0.99, 0.04, 429, 0),  # images that differ
        (0.01, 0.6, 0.4, 429, 0),  # a discriminator that cannot tell
        (0.01, 0.99, 0.04, 40, 0),  # too early to say
    ],
)
def test_a_gan_whose_first_images_are_all_alike_is_warned_of_once(
    spread: float, d_real: float, d_fake: float, steps: int, warned: int,
    digits: MNISTDataModule, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    class Alike(GAN):
        def sample(self, n: int, *_: Any, **__: Any) -> torch.Tensor:
            return 0.5 + spread * torch.randn(n, 1, 28, 28).clamp(-1, 1)

    metrics = {"val/d_real": torch.tensor(d_real), "val/d_fake": torch.tensor(d_fake)}
    trainer: Any = SimpleNamespace(
        callback_metrics=metrics, current_epoch=0, max_epochs=9, should_stop=False,
        global_step=steps, is_global_zero=True, datamodule=digits, default_root_dir="none",
        state=SimpleNamespace(fn=TrainerFn.FITTING),
    )  # fmt: skip
    callback, model = ValidationDistance(), Alike()
    callback.on_fit_start(trainer, model)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            callback.on_validation_epoch_end(trainer, model)
    assert len(caplog.messages) == warned
    assert all("model.init=he" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("loss", "real", "fake", "sure"),
    [
        (0.002, 0.999, 0.001, True),
        (0.33, 0.995, 0.005, True),  # with smoothed labels
        (0.001, 0.73, 0.5, True),  # lsgan: scores of 1 and 0
        (0.3, 0.7, 0.5, False),
        (0.001, 0.5, 0.5, False),  # wgan_gp that tells nothing apart
        (-9.0, 1.0, 0.0, False),  # and one that does
        (math.nan, 0.999, 0.001, True),  # no such loss
        (math.nan, math.nan, math.nan, False),
    ],
)
def test_by_any_loss_it_is_known_when_d_is_sure(
    loss: float, real: float, fake: float, sure: bool
) -> None:
    assert saturated(loss, real, fake) == sure


def test_every_n_epochs_is_checked() -> None:
    with pytest.raises(ValueError, match="every_n_epochs"):
        ValidationDistance(every_n_epochs=0)


def test_the_quick_evaluation_has_its_own_keys(trained: Trained) -> None:
    run = trained("model=gan", "evaluate=quick")
    metrics = read_metrics(run)
    assert metrics["quick/samples"] == 200
    assert metrics["quick/floor/fid_lenet"] < metrics["quick/fid_lenet"]
    assert "fid_lenet" not in metrics
    assert not any(key.startswith("quick/encoder") for key in metrics)


def test_a_run_stopped_before_its_evaluation_gets_it_later(
    trained: Trained, tmp_path: Path
) -> None:
    run = trained("model=vae", "evaluate=none")
    written = run.weights.stat().st_mtime_ns
    assert trained("model=vae", "evaluate=quick").path == run.path
    assert run.weights.stat().st_mtime_ns == written
    assert read_metrics(run)["quick/encoder/mse"] > 0


def test_evaluate_is_checked(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="evaluate must be one of full, quick, none, got 'much'"):
        train("data=digits", "evaluate=much", f"output_dir={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_classes_that_are_no_digits_are_warned_of_by_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callback = ValidationDistance()
    callback._class_names = tuple("abcdefghijkl")
    metrics = {"val/missing_classes": torch.tensor(3.0)}
    trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=9)
    for _ in range(2):
        callback._warn(trainer)
    assert caplog.messages == ["epoch 10: classes missing from the new images: 3 of 12"]
    caplog.clear()
    unlabelled: Any = SimpleNamespace(callback_metrics={}, current_epoch=9)
    for _ in range(3):
        callback._warn(unlabelled)
    assert not caplog.messages
