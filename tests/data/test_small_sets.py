"""A data set of a few images and of few classes: what is trained on it can be measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import directory_of, read_metrics, train
from test_data import FILES, idx

from gen_models.data import datasets
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.fit_sampler import fit_sampler
from gen_models.evaluation.measure import Effort


@pytest.fixture
def few(digits: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 training images, of which 6 are held out, and 6 test images; of 0, 1 and 2 alone."""
    source = datasets.SOURCES["kmnist"]._replace(train_size=24, test_size=6, validation_size=6)
    monkeypatch.setitem(datasets.SOURCES, "kmnist", source)
    raw = tmp_path / source.folder / "raw"
    raw.mkdir(parents=True)
    for file in FILES:
        split, n = ("train", 24) if file.startswith("train") else ("test", 6)
        images, labels = digits.splits[split]
        rows = (labels < 3).nonzero()[:n, 0]
        values = images[rows, 0] if "images" in file else labels[rows]
        raw.joinpath(file).write_bytes(idx(list(values.shape), values.numpy()))
    return tmp_path


def test_nothing_that_was_trained_is_refused_afterwards(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen_models.metrics.fit_classifier.LEAST_STEPS", 1)  # it learns nothing
    monkeypatch.setattr("gen_models.metrics.fit_classifier.EPOCHS", 1)
    words = ["model=vae", "model.conditional=true", "data=kmnist", "phase=baseline",
             "max_epochs=1", "data.batch_size=4", "trainer.accelerator=cpu", "evaluate=quick",
             f"data.root={few}", f"output_dir={few / 'runs'}"]  # fmt: skip
    train(*words)
    run = directory_of(words)
    said: list[str] = []
    evaluate_run(run.path, effort=Effort(1, 2, 2, 2), say=said.append)
    metrics = read_metrics(run)
    assert metrics["samples"] == metrics["quick/samples"] == 6
    assert all(np.isfinite(value) for value in metrics.values())
    assert "label_kl" not in metrics
    assert any("its classifier knows only" in line for line in said)
    fit_sampler(run.path, kind="gmm", say=said.append)
    evaluate_run(run.path, effort=Effort(1, 2, 2, 2), say=said.append)
    assert json.loads(run.status.read_text(encoding="utf-8"))["evaluation"]["sampler"] == "gmm-1"


def test_an_evaluation_takes_no_batches(few: Path) -> None:
    data = MNISTDataModule(name="kmnist", root=few)  # of 128 images
    data.setup()
    assert len(data.splits["train"].images) == 18
    with pytest.raises(UserError, match=r"data\.batch_size=128: kmnist has only 18"):
        data.train_dataloader()
