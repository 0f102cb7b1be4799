"""Where a run is measured; on a machine with a GPU, that it gives the same numbers there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Trained, read_metrics
from synthetic import make_run

from gen_models.data.module import load_data
from gen_models.errors import UserError
from gen_models.evaluation import evaluate
from gen_models.evaluation.evaluate import evaluate_run, measuring
from gen_models.evaluation.fit_sampler import fit_sampler
from gen_models.evaluation.measure import Effort
from gen_models.models.interface import draw_fixed
from gen_models.models.sampler import WithSampler
from gen_models.models.vae import VAE
from gen_models.runs import load_model

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

COUNTED = ("precision", "recall", "density", "coverage", "grey_share", "accuracy", "label_kl")


@pytest.mark.parametrize(
    ("trained_on", "available", "expected"),
    [("cpu", True, "cpu"), ("NVIDIA H100", True, "cuda"), ("NVIDIA H100", False, "cpu")],
)
def test_a_run_is_measured_on_a_gpu_if_one_trained_it(
    trained_on: str,
    available: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    monkeypatch.setattr(evaluate, "reference", lambda *_, device, **__: device)
    before = torch.backends.cudnn.allow_tf32
    run = make_run(tmp_path, "data=digits", device=trained_on)
    with measuring(run, load_data({"name": "digits"}), None, print) as (_, device):
        assert device.type == expected
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_full_gpu_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(evaluate, "reference", fill)
    run, data = make_run(tmp_path, "data=digits"), load_data({"name": "digits"})
    remedy = r"too little of the GPU's memory .* \(CUDA_VISIBLE_DEVICES= gen-models evaluate"
    with pytest.raises(UserError, match=remedy), measuring(run, data, None, print):
        pass


def test_a_model_with_a_sampler_knows_its_device_after_a_move() -> None:
    vae = VAE(latent_dim=4, encoder_dims=[9])
    tensors = torch.ones(1, 1), torch.zeros(1, 1, 4), torch.eye(4).view(1, 1, 4, 4)
    sampled = WithSampler(vae, "normal", *tensors).to("meta")
    assert (sampled.means.device.type, vae.device.type) == ("meta", "meta")


@needs_gpu
@pytest.mark.parametrize(
    "overrides", [("model=gan",), ("model=vae", "model.conditional=true", "model.binarize=true")]
)
def test_a_gpu_measures_what_the_cpu_does(
    overrides: tuple[str, ...], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(*overrides)
    if "model=vae" in overrides:
        fit_sampler(run.path, kind="normal", say=lambda line: None)
    effort = Effort(restarts=2, iterations=20, importance_samples=50)
    measured, pictures = {}, {}
    for name in ("cpu", torch.cuda.get_device_name()):
        run.write_status(device=name)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))  # the bounds too
        evaluate_run(run.path, quick=True, say=lambda line: None)
        evaluate_run(run.path, effort=effort, say=lambda line: None)
        status = run.read_status()
        assert status["evaluation"]["device"] == status["quick"]["device"] == name
        measured[name] = read_metrics(run)
        with np.load(run.path / "evaluation.npz") as arrays:
            pictures[name] = [arrays[f"pictures_{part}"] for part in ("samples", "test")]
    (expected, found), both = measured.values(), pictures.values()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key == "cost/sampling_seconds":
            continue
        rel, absolute = (0.1, 0.0) if "inversion/" in key else (1e-3, 1e-4)
        absolute = 0.02 if any(part in key for part in COUNTED) else absolute
        assert found[key] == pytest.approx(value, rel=rel, abs=absolute), key
    for before, after in zip(*both, strict=True):
        assert np.array_equal(before, after)


@needs_gpu
@pytest.mark.parametrize("model", ["gan", "vae"])
def test_a_gpu_trains_goes_on_and_measures(model: str, trained: Trained) -> None:
    options = [f"model={model}", "trainer.accelerator=gpu", "evaluate=quick"]
    short = trained(*options, epochs=1)
    pictures = []
    for further in (f"extend={short.path}", "overwrite=true"):
        run = trained(*options, further)
        status = run.read_status()
        assert status["device"] == status["quick"]["device"] == torch.cuda.get_device_name()
        pictures.append(draw_fixed(load_model(run.path), 8))
    assert torch.allclose(*pictures, atol=1e-3)
