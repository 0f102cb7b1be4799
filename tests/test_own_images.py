"""The user's own images through every command: trained, killed, resumed, measured, shown, exported.

Each two of data, model and network meet in a case.
"""

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
from conftest import DRAWING, directory_of, read_metrics, small, train
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from gen_models import figures
from gen_models.cli import app
from gen_models.runs.directory import RunDirectory

SHAPES = {"grey": (28, 28), "colour": (32, 32, 3), "unlabelled": (40, 24)}
CASES = [
    ("grey", "gan", "mlp"), ("grey", "vae", "conv"),
    ("colour", "gan", "conv"), ("colour", "vae", "mlp"),
    ("unlabelled", "gan", "mlp"), ("unlabelled", "vae", "conv"),
]  # fmt: skip


class Kill(pl.Callback):
    """Ends its process in the second epoch as kill -9 does."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGKILL)


def own(folder: Path, name: str) -> Path:
    """Three kinds of bars in noise, as a user keeps them."""
    noise = np.random.default_rng(0)
    labels = noise.integers(3, size=400)
    images = noise.integers(60, size=(400, *SHAPES[name]), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 + 6 * label : 8 + 6 * label, 4:-4] = 230
    arrays = {"images": images} | ({} if name == "unlabelled" else {"labels": labels})
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def gen_models(*arguments: Any) -> str:
    """What a command says."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def train_killed(*options: str) -> RunDirectory:
    """Train in a process that is killed, and again in this one."""
    child = os.fork()
    if child == 0:
        try:
            train(*options, "+callbacks.kill._target_=test_own_images.Kill")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    train(*options)
    return directory_of(list(options))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_own_images_go_through_every_command(
    case: tuple[str, str, str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, model, network = case
    monkeypatch.setattr("gen_models.metrics.fit_classifier.LEAST_STEPS", 30)
    labelled, shape = name != "unlabelled", SHAPES[name]
    phase = ["phase=best", "model.width=8"] if network == "conv" else ["hidden_dims=[32]"]
    options = ["data=npz", f"data.root={own(place, name)}", f"model={model}", "sampler=null"]
    conditional = labelled and case[1:] != ("vae", "conv")  # which the explorer refuses
    options += [*phase, "data.batch_size=32", f"model.conditional={str(conditional).lower()}"]
    run = train_killed(*small(place, *options))
    whole = small(place / "whole", *options)
    train(*whole)
    weights, expected = (load_file(each.weights) for each in (run, directory_of(whole)))
    assert all((weights[key] == expected[key]).all() for key in expected)

    gen_models("evaluate", run.path, "--restarts", 1, "--iterations", 2)
    metrics = read_metrics(run)
    assert 0 < metrics["floor/fid_lenet"] < metrics["fid_lenet"]
    assert ("class_accuracy" in metrics) == conditional
    assert ("real/confidence" in metrics) == labelled

    gen_models("sample", run.path, "--count", 5, "--output", place / "new.npy")
    new = np.load(place / "new.npy")
    assert (new.shape, new.dtype) == ((5, *shape), np.uint8)
    if model == "vae":
        with monkeypatch.context() as drawn:
            for key, function in DRAWING.items():
                drawn.setattr(figures, key, function)
            gen_models("reconstruct", run.path, "--count", 3, "--output", place / "pairs.png")
        with Image.open(place / "pairs.png") as pairs:
            assert np.unique(np.asarray(pairs)).size > 10

    gen_models("export", run.path, "--output", place / "-".join(case))
    assert f"{name}" in (place / "-".join(case) / "README.md").read_text()
    gen_models("explore", run.path, "--output", place / f"{'-'.join(case)}.html")
    assert (place / f"{'-'.join(case)}.html").stat().st_size > 100_000

    if model == "vae":  # the GAN has been trained before
        gen_models("compare", place / name, "--output", place / f"{name}-report")
        page = (place / f"{name}-report" / "report.html").read_text()
        assert page.count("data:image/png") > 4
        assert ("random weights" in page) != labelled
