"""A flow is measured without a search for z, and its quality against its number of steps."""

import numpy as np
import pytest
import torch
from conftest import Trained, read_metrics
from test_cli import call

from gen_models.errors import UserError
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.steps import require_steps
from gen_models.models.gan import GAN
from gen_models.runs import load_model
from gen_models.runs.directory import RunDirectory

FLOW = ["model=flow", "hidden_dims=[8]", "model.solver=euler", "model.steps=2"]


@pytest.fixture(autouse=True)
def _few_timed_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_models.evaluation.cost.TIMED", 10)


@pytest.fixture
def run(copied: Trained) -> RunDirectory:
    return copied(*FLOW)


def test_a_flow_is_measured_without_a_search_for_z(run: RunDirectory) -> None:
    code, text = call("evaluate", run.path, "--likelihood-images", 4)
    assert code == 0, text
    metrics = read_metrics(run)
    assert metrics["latent_dim"] == 784
    assert 0 < metrics["likelihood/bits_per_dim/low"] < metrics["likelihood/bits_per_dim"]
    assert metrics["likelihood/images"] == 4
    left_out = ("inversion/", "pca/", "active_units", "grey_pixels/")
    assert not any(key.startswith(left_out) for key in metrics)
    for shown in ("z of 784", "bits/dim"):
        assert shown in text
    with np.load(run.path / "evaluation.npz") as arrays:
        z = torch.tensor(arrays["inversion_z"])
        assert z.shape == (256, 784)
        recreated = 255 * load_model(run.path).decode(z[:40]).squeeze(1).numpy()
        assert np.abs(arrays["pictures_recreated"] - recreated).max() < 1
        assert arrays["pictures_interpolation"].shape == (8, 11, 28, 28)
        assert arrays["pictures_traversal"].shape == (8, 11, 28, 28)
        assert "latent_map" not in arrays
    assert {"recreated", "interpolation", "traversal"} <= {
        path.stem for path in run.figures.glob("*.png")
    }
    assert not (run.figures / "latent_map.png").exists()
    assert not (run.path / "projector").exists()


def test_quality_against_cost_joins_the_metrics(run: RunDirectory) -> None:
    before = read_metrics(run)
    options = ["--steps", "1,2,1", "--solver", "euler,heun,dopri5"]
    code, text = call("evaluate", run.path, *options)
    assert code == 0, text
    metrics = read_metrics(run)
    ways = ["euler-1", "euler-2", "heun-1", "heun-2", "dopri5"]
    names = ["fid_lenet", "sampling_seconds", "flops_per_sample"]
    added = {f"steps/{way}/{name}" for way in ways for name in names}
    assert metrics.keys() == before.keys() | added
    assert all(metrics[key] == value for key, value in before.items())
    assert all(way in text for way in ways)
    evaluations = {"euler-2": 2, "heun-1": 2, "heun-2": 4}
    for way, count in evaluations.items():
        one = metrics["steps/euler-1/flops_per_sample"]
        assert metrics[f"steps/{way}/flops_per_sample"] == count * one
    assert metrics["steps/dopri5/flops_per_sample"] > 4 * one
    evaluate_run(
        run.path, quick=True, say=lambda line: None
    )  # by its own solver, of the same noise
    again = read_metrics(run)
    assert again["quick/fid_lenet"] == metrics["steps/euler-2/fid_lenet"]
    assert added < again.keys()


def test_images_are_drawn_in_other_steps(run: RunDirectory) -> None:
    output = run.path / "images.npy"
    drawn = []
    for options in ([], ["--steps", 1], ["--solver", "dopri5"]):
        code, text = call("sample", run.path, "--count", 2, "--output", output, *options)
        assert code == 0, text
        drawn.append(np.load(output))
    assert all((one != other).any() for one, other in zip(drawn, drawn[1:], strict=False))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["evaluate", "--steps", "0"], "--steps"),
        (["evaluate", "--steps", "1,two"], "--steps"),
        (["evaluate", "--steps", ""], "--steps"),
        (["evaluate", "--steps", "1", "--solver", "rk4"], "--solver"),
        (["evaluate", "--steps", "1", "--solver", "dopri5"], "--steps"),
        (["sample", "--steps", "0"], "--steps"),
        (["sample", "--solver", "rk4"], "--solver"),
        (["sample", "--steps", "2", "--solver", "dopri5"], "--steps"),
    ],
)
def test_steps_that_do_not_fit_are_refused(
    options: list[str], named: str, run: RunDirectory
) -> None:
    before = read_metrics(run)
    code, text = call(options[0], run.path, *options[1:])
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith(named)
    assert read_metrics(run) == before


def test_a_model_that_draws_in_one_pass_has_no_steps() -> None:
    gan = GAN(latent_dim=2, generator_dims=[4], discriminator_dims=[4])
    with pytest.raises(UserError, match=r"^RUN: a GAN .*--steps[^\n]*$"):
        require_steps(gan, "RUN")


def test_no_sampler_is_fitted_to_latents_as_large_as_an_image(run: RunDirectory) -> None:
    code, text = call("fit-sampler", run.path)
    assert (code, text.count("\n")) == (1, 1), text
    assert not run.sampler.exists()
