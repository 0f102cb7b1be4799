"""Trainings that look for a fault, each under a name of its own; and a stop before the end."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import directory_of, small, train
from synthetic import edit
from torch import Tensor

from gen_models.evaluation.reporting import show_line


class Seen(pl.Callback):
    """Notes the images of each batch."""

    images: list[Tensor] = []  # noqa: RUF012

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, index: int) -> None:
        self.images.append(batch.images.clone())


def test_each_way_to_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = "+callbacks.seen._target_=test_debugging.Seen"
    for choice, more, steps, shown in (
        ("fast", [], 1, ", 1 batch"),
        ("overfit", ["max_steps=6", seen], 6, "The same batch 6 times"),
        ("profile", ["max_steps=3"], 3, "run_training_epoch"),
    ):
        options = small(tmp_path, "model=vae", f"debug={choice}", *more)
        train(*options)
        run = directory_of(options)
        assert f"debug_{choice}" in run.path.name
        assert run.read_status()["steps"] == steps
        assert shown in capsys.readouterr().out
    first, *others = Seen.images
    assert len(others) == 5
    assert all(torch.equal(first, other) for other in others)


def test_a_run_that_stops_early_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = small(
        tmp_path, "model=vae", "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
        "+callbacks.early_stopping.min_delta=1e6", "callbacks.validation_distance.every_n_epochs=2",
        epochs=9,
    )  # fmt: skip
    train(*options)
    run = directory_of(options)
    assert "patience1" in run.path.name
    status, weights = run.read_status(), run.weights.read_bytes()
    assert (status["status"], status["epoch"], status["epochs"]) == ("done", 4, 9)
    assert "in 1 measurement\n" in capsys.readouterr().out
    show_line(run)
    assert "4 of 9 epochs in " in capsys.readouterr().out
    train(*options, "tags=[late]")
    assert run.read_status() == status | {"tags": ["late"]}
    edit(run.status, status="interrupted")  # killed after its last epoch
    train(*options)
    status = run.read_status()
    assert (status["status"], status["epoch"], status["steps"]) == ("done", 4, 16)
    assert run.weights.read_bytes() == weights
