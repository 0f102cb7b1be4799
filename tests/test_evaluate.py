"""`gen-models evaluate` on runs of a second: everything is measured, written and shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Trained, read_metrics
from safetensors.torch import load_file, save_file
from test_cli import call

from gen_models.data import MNISTDataModule
from gen_models.evaluation.classifier import classifier_path, load_classifier
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.measure import (
    Reference,
    measure,
    measure_bounds,
    measure_generation,
    reference,
)
from gen_models.runs import load_model


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def real() -> Reference:
    datamodule = MNISTDataModule(name="digits", batch_size=32)
    datamodule.setup()
    return reference(datamodule, load_classifier(classifier_path("digits", Path("data"))))


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_a_run_is_measured_into_its_directory(model: str, trained: Trained, tmp_path: Path) -> None:
    run = trained(f"model={model}")
    before = read_metrics(run)
    code, text = call("evaluate", run.path)
    assert code == 0, text
    metrics = read_metrics(run)
    assert before.items() < metrics.items()
    assert metrics["samples"] == 300
    assert metrics["floor/fid_lenet"] < metrics["fid_lenet"]
    assert metrics["missing_digits"] == int(metrics["missing_digits"]) <= 9
    assert metrics["nearest/mse"] < metrics["mean_image/mse"]
    assert metrics["kid_lenet/low"] < metrics["kid_lenet"] < metrics["kid_lenet/high"]
    assert ("encoder/mse" in metrics) == (model == "vae")
    assert ("grey_pixels/negative_elbo" in metrics) == (model == "vae")
    assert not any(key.startswith("likelihood/") for key in metrics)
    with np.load(run.path / "evaluation.npz") as arrays:
        assert arrays["inversion_mse"].mean() == pytest.approx(metrics["inversion/mse"], rel=1e-5)
    assert (run.figures / "recreated.png").is_file()
    for shown in ("fid_lenet", "pixel noise", "inversion", str(run.metrics)):
        assert shown in text


def test_measuring_again_gives_the_same_figures_and_reuses_the_bounds(trained: Trained) -> None:
    run = trained("model=gan")
    lines: list[str] = []
    first = evaluate_run(run.path, say=lines.append).metrics
    assert any("floor" in line for line in lines)
    lines.clear()
    assert evaluate_run(run.path, say=lines.append).metrics == first
    assert not any("floor" in line for line in lines)


def test_a_likelihood_needs_binarised_training(trained: Trained, real: Reference) -> None:
    model = load_model(trained("model=vae", "model.binarize=true").path)
    metrics = measure(model, real).metrics
    assert metrics["likelihood/iwae"] < metrics["likelihood/negative_elbo"]  # nats lost
    assert metrics["likelihood/negative_elbo"] == pytest.approx(
        metrics["likelihood/recon"] + metrics["likelihood/kl"], rel=1e-5
    )
    assert not any(key.startswith("grey_pixels/") for key in metrics)


def test_the_vaes_test_loss_is_measured_alike_in_training_and_afterwards(
    trained: Trained, real: Reference
) -> None:
    run = trained("model=vae", epochs=20, batches=1.0)
    metrics = measure(load_model(run.path), real).metrics
    assert metrics["grey_pixels/kl"] == pytest.approx(read_metrics(run)["test/kl"], rel=1e-4)
    assert metrics["grey_pixels/recon"] == pytest.approx(read_metrics(run)["test/recon"], rel=0.01)


def test_a_model_whose_images_are_not_finite_is_refused(trained: Trained) -> None:
    run = trained("model=vae")
    weights = load_file(run.weights)
    weights["network.dec2.bias"][:] = float("nan")
    save_file(weights, run.weights)
    code, text = call("evaluate", run.path)
    assert code == 1
    assert "its images cannot be measured" in text


def test_floor_and_ceilings_are_in_order(real: Reference) -> None:
    bounds = measure_bounds(real)
    for name in ("fid_lenet", "kid_lenet", "label_kl"):
        assert bounds[f"floor/{name}"] < bounds[f"gaussian/{name}"] < bounds[f"noise/{name}"]
    for name in ("recall", "coverage"):
        assert bounds[f"floor/{name}"] > bounds[f"gaussian/{name}"]
    assert bounds["floor/memorisation"] == 0


def test_a_dropped_digit_is_missed(real: Reference) -> None:
    labels = real.classifier.read(real.train).labels
    whole, without = real.train[:300], real.train[labels != 4][:300]
    for images, missing in ((whole, 0), (without, 1)):
        assert measure_generation(images, real)[0]["missing_digits"] == missing


def test_a_model_is_left_as_it_was(trained: Trained, real: Reference) -> None:
    model = load_model(trained("model=gan").path)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    measure(model, real)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable


def test_a_classifier_is_made_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_models.evaluation.classifier.LEAST_STEPS", 20)
    monkeypatch.setattr("gen_models.evaluation.classifier.EPOCHS", 1)
    output = tmp_path / "mine"
    code, text = call("train-classifier", "--data", "digits", "--output", output)
    assert code == 0, text
    assert "% of the test images" in text
    assert load_classifier(output).record["data"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate", "{tmp}"], "not a finished run"),
        (["train-classifier", "--data", "cifar"], "--data: name must be one of"),
    ],
)
def test_errors_are_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    code, text = call(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert says in text
    assert text.count("\n") == 1
