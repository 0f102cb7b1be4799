"""A run that was stopped and started again is, to the bit, the run that was not stopped."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import assert_same, directory_of, read_curves, small, train
from safetensors.torch import load_file

from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory


class StopAt(pl.Callback):
    """Stops a run at a place of its choice; built by the configuration like any callback."""

    def __init__(self, place: str, step: int, how: str) -> None:
        self.place = place
        self.step = step
        self.how = how

    def _stop(self, trainer: pl.Trainer, place: str, step: int) -> None:
        if place == self.place and step == self.step:
            self.step = -1
            if self.how == "exception":
                raise RuntimeError("stopped by the test")
            os.kill(os.getpid(), getattr(signal, self.how))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._stop(trainer, "step", trainer.global_step)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self._stop(trainer, "batch end", trainer.global_step - 1)

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        self._stop(trainer, "validation", trainer.global_step - 1)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        self._stop(trainer, "epoch end", trainer.global_step - 1)


MODELS = {
    "gan": ["model=gan"],
    "gan with ema": ["model=gan", "model.ema_decay=0.9", "model.d_steps=3"],
    "vae": ["model=vae", "model.binarize=true", "model.kl_warmup_epochs=2"],
    "flow": ["model=flow", "hidden_dims=[32]", "model.conditional=true"],
}
STOPS = [  # 3 epochs of 4 batches: 0 is the first, 5 in the middle, 3 and 7 the last of an epoch
    ("step", 6, "SIGINT"),
    ("batch end", 0, "SIGTERM"),
    ("batch end", 5, "SIGTERM"),
    ("batch end", 7, "SIGTERM"),
    ("batch end", 11, "SIGTERM"),
    ("batch end", 5, "SIGINT"),
    ("validation", 7, "exception"),
    ("epoch end", 7, "exception"),
    ("epoch end", 3, "SIGTERM"),
]
# Each place with each model would take minutes: each is met once, and those that no case of
# test_kill.py has, by two models. That has many more stops within a step and a validation.
CASES = [
    (list(MODELS)[(i + 2 * shift) % 4], stop, bool((i // 4 + shift) % 2))
    for shift in (0, 1)
    for i, stop in enumerate(STOPS)
    if not shift or stop[0] in ("batch end", "epoch end")
]
FEW = CASES[: len(STOPS)]


Whole = Callable[[str, bool], RunDirectory]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a model comes to when it is left alone."""

    @functools.cache
    def whole(model: str, by_steps: bool) -> RunDirectory:
        overrides = overrides_of(model, by_steps, tmp_path_factory.mktemp("whole"))
        train(*overrides)
        return directory_of(overrides)

    return whole


def overrides_of(model: str, by_steps: bool, folder: Path) -> list[str]:
    overrides = small(folder, *MODELS[model], epochs=50 if by_steps else 3)
    return [*overrides, "max_steps=10"] if by_steps else overrides


@pytest.mark.parametrize(
    ("model", "stop", "by_steps"),
    [
        pytest.param(
            *case,
            id="-".join(map(str, (case[0], *case[1], case[2]))),
            marks=[] if case in FEW else pytest.mark.slow,
        )
        for case in CASES
    ],
)
def test_a_stopped_run_ends_as_the_whole_one(
    model: str,
    stop: tuple[str, int, str],
    by_steps: bool,
    tmp_path: Path,
    uninterrupted: Whole,
) -> None:
    place, step, how = stop
    if by_steps:
        step = min(step, 9)
    overrides = overrides_of(model, by_steps, tmp_path)
    stopping = [
        "+callbacks.stop._target_=test_resume.StopAt",
        f"+callbacks.stop.place='{place}'",
        f"+callbacks.stop.step={step}",
        f"+callbacks.stop.how={how}",
    ]
    run = directory_of(overrides)
    expected: type[BaseException] = RuntimeError if how == "exception" else SystemExit
    with pytest.raises(expected) as stopped:
        train(*overrides, *stopping)
    status = "failed" if how == "exception" else "interrupted"
    assert run.read_status()["status"] == status
    if isinstance(stopped.value, SystemExit):
        assert stopped.value.code == 128 + getattr(signal, how)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    train(*overrides)
    whole = uninterrupted(model, by_steps)
    assert run.read_status()["status"] == "done"
    assert_same(load_file(run.weights), load_file(whole.weights))
    found, expected_checkpoint = (
        torch.load(directory.checkpoints / "latest.ckpt", weights_only=True)
        for directory in (run, whole)
    )
    for key in ("state_dict", "optimizer_states", "epoch", "global_step"):
        assert_same(found[key], expected_checkpoint[key], key)
    assert_same(read_curves(run.path), read_curves(whole.path))
    assert run.metrics.read_text() == whole.metrics.read_text()


def test_max_steps_ends_within_an_epoch(uninterrupted: Whole) -> None:
    run = uninterrupted("gan", True)
    assert run.read_status()["steps"] == 10
    steps, _ = read_curves(run.path)["val/d_loss"]
    assert steps == [4, 8, 10]


@pytest.mark.parametrize("model", ["gan", "vae"])
@pytest.mark.slow
def test_a_run_stopped_three_times_and_once_damaged(
    model: str, tmp_path: Path, uninterrupted: Whole
) -> None:
    overrides = overrides_of(model, False, tmp_path)
    run = directory_of(overrides)
    for step in (2, 5, 9):
        with pytest.raises(SystemExit):
            train(
                *overrides, "+callbacks.stop._target_=test_resume.StopAt",
                "+callbacks.stop.place='batch end'", f"+callbacks.stop.step={step}",
                "+callbacks.stop.how=SIGTERM",
            )  # fmt: skip
    latest = run.checkpoints / "latest.ckpt"
    latest.write_bytes(latest.read_bytes()[:1000])
    train(*overrides)
    whole = uninterrupted(model, False)
    assert_same(load_file(run.weights), load_file(whole.weights))
    assert_same(read_curves(run.path), read_curves(whole.path))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    overrides = small(tmp_path, "model=vae", "trainer.log_every_n_steps=100", epochs=3)
    breaking = "+callbacks.nan._target_=test_resume.NotANumber"
    with pytest.raises(UserError, match=r"diverged: .* at or before step 8 \(train/loss nan"):
        train(*overrides, breaking)
    run = directory_of(overrides)
    assert run.read_status()["status"] == "diverged"
    checkpoint = torch.load(run.checkpoints / "latest.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values())


class NotANumber(pl.Callback):
    """Spoils the weights within the second epoch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 5:
            next(pl_module.parameters()).data[0, 0] = float("nan")


def test_a_run_started_with_ctrl_c_ignored_goes_on_ignoring_it(tmp_path: Path) -> None:
    """As in `nohup python train.py &`, where the shell ignores it for what runs in background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    overrides = small(tmp_path, "model=vae", epochs=3)
    place = ["place='batch end'", "step=5", "how=SIGINT"]
    stopping = [f"+callbacks.stop.{text}" for text in ["_target_=test_resume.StopAt", *place]]
    train(*overrides, *stopping)
    assert directory_of(overrides).read_status()["status"] == "done"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
