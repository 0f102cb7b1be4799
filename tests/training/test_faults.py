"""Signals outside of training, memory that runs out, disks that fill up."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import ROOT, assert_same, directory_of, read_curves, small, train
from safetensors.torch import load_file
from tensorboard.summary.writer.record_writer import RecordWriter

from gen_models.data import datasets
from gen_models.errors import DivergedError, UserError
from gen_models.models.gan import GAN
from gen_models.runs.directory import RunDirectory
from gen_models.terminal import quiet_libraries
from gen_models.training import reporting


def stopping(number: int) -> Callable[..., None]:
    """In the place of something that takes long."""

    def stop(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("went on behind the signal")

    return stop


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_data_are_read_leaves_no_directory(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "download", stopping(number))
    with pytest.raises(SystemExit) as stopped:
        train(*small(tmp_path, "model=gan"))
    assert stopped.value.code == code
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("place", ["test", "pictures"])
def test_a_signal_behind_training_is_an_interruption(
    number: int, code: int, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = small(tmp_path, "model=gan")
    with monkeypatch.context() as patched:
        if place == "pictures":
            patched.setattr(reporting, "write_figures", stopping(number))
        else:  # on the last test batch, where Lightning no longer looks
            patched.setattr(
                GAN, "on_test_epoch_end", lambda *_: os.kill(os.getpid(), number), raising=False
            )
        with pytest.raises(SystemExit) as stopped:
            train(*overrides)
    assert stopped.value.code == code
    run = directory_of(overrides)
    assert run.read_status()["status"] == "interrupted"
    assert not run.metrics.exists() or place == "pictures"
    train(*overrides)
    assert run.read_status()["status"] == "done"


def test_the_last_step_of_max_steps_is_logged_and_checked(tmp_path: Path) -> None:
    options = small(
        tmp_path, "model=vae", "max_steps=30", "~callbacks.validation_distance", batches=1.0
    )
    options = [text for text in options if "log_every" not in text]  # 50, as usual
    train(*options)
    steps, _ = read_curves(directory_of(options).path)["train/loss"]
    assert steps == [30]
    with pytest.raises(DivergedError, match="at or before step 30"):
        train(*options, "lr=1.0", "model.betas=[0.0,0.0]", "overwrite=true")


def test_a_signal_before_the_first_status_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunDirectory, "write_config", stopping(signal.SIGTERM))
    overrides = small(tmp_path, "model=gan")
    with pytest.raises(SystemExit):
        train(*overrides)
    assert not directory_of(overrides).path.exists()


class StopTwice(pl.Callback):
    """Two Ctrl-C within one step, between the updates of D and of G."""

    def __init__(self) -> None:
        self.calls = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.calls += 1
        if self.calls == 12:  # of the second epoch's second batch
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_an_impatient_ctrl_c_saves_no_half_step(tmp_path: Path) -> None:
    overrides = small(tmp_path / "a", "model=gan", epochs=3)
    with pytest.raises(SystemExit) as stopped:
        train(*overrides, "+callbacks.stop._target_=test_faults.StopTwice")
    assert stopped.value.code == 130
    run = directory_of(overrides)
    checkpoint = torch.load(run.checkpoints / "latest.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    train(*overrides)
    whole = small(tmp_path / "b", "model=gan", epochs=3)
    train(*whole)
    assert_same(load_file(run.weights), load_file(directory_of(whole).weights))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                     "allocate memory: you tried to allocate 3136000000000 bytes."),
        MemoryError(),
    ],
)  # fmt: skip
def test_no_memory_at_the_first_batch_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(GAN, "training_step", refuse)
    overrides = small(tmp_path, "model=gan", "data.batch_size=64")
    with pytest.raises(UserError, match=r"^out of memory with data.batch_size=64: try 32, or"):
        train(*overrides)
    monkeypatch.undo()
    assert directory_of(overrides).read_status()["status"] == "failed"
    train(*overrides)  # a failed run is tried again
    assert directory_of(overrides).read_status()["status"] == "done"


PROGRAM = """
import resource, runpy, sys
import lightning.pytorch as pl
fit = pl.Trainer.fit
def limited(*arguments, **options):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
    fit(*arguments, **options)
pl.Trainer.fit = limited
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_processs_own_limit_of_memory_is_one_line(tmp_path: Path) -> None:
    options = small(
        tmp_path, "model=vae", "hidden_dims=[20000]", "data.batch_size=1297", batches=1.0
    )
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "train.py"), *options],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.startswith("out of memory with data.batch_size=1297: try 648, or smaller")
    assert ran.stderr.count("\n") == 1
    assert "Traceback" not in ran.stdout


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_training_goes_on_while_checkpoints_cannot_be_written(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = small(tmp_path, f"model={model}", epochs=3)
    fsync, calls = os.fsync, 0

    def full_later(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", full_later)
    train(*overrides)
    run = directory_of(overrides)
    assert run.read_status()["status"] == "done"
    assert run.read_status()["steps"] == 12
    assert "could not be written" in run.log.read_text()
    assert not list(run.checkpoints.glob("*.tmp*"))


def test_no_checkpoint_at_all_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    overrides = small(tmp_path, "model=gan")
    with pytest.raises(UserError, match=r"latest.ckpt: cannot be written .*No space left"):
        train(*overrides)
    run = directory_of(overrides)
    assert run.read_status()["status"] == "failed"
    assert list(run.checkpoints.iterdir()) == []


@pytest.mark.parametrize("room", [0, 10])
def test_a_disk_that_is_full_for_curves_and_log_is_one_line(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(range(room))
    write = RecordWriter.write

    def write_while_there_is_room(writer: RecordWriter, data: bytes) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        write(writer, data)

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    overrides = small(tmp_path, "model=vae", epochs=1)
    run = directory_of(overrides)
    with monkeypatch.context() as patched:
        patched.setattr(threading, "excepthook", threading.excepthook)  # pytest's; restored
        quiet_libraries()
        patched.setattr(RecordWriter, "write", write_while_there_is_room)
        patched.setattr(logging.StreamHandler, "flush", refuse)
        with pytest.raises(UserError) as error:
            train(*overrides)
    assert str(error.value) == f"{run.path}: No space left on device"
    assert capsys.readouterr().err == ""
    train(*overrides)
    assert run.read_status()["status"] == "done"


def test_a_checkpoint_folder_that_cannot_be_written_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = small(tmp_path, "model=gan")
    write_text = Path.write_text

    def read_only(path: Path, *arguments: Any, **options: Any) -> int:
        if path.parent.name == "checkpoints":
            raise OSError(30, "Read-only file system")
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", read_only)
    with pytest.raises(UserError, match=r"checkpoints: cannot be written \(Read-only file system"):
        train(*overrides)
    assert not directory_of(overrides).path.exists()


def test_damaged_checkpoints_are_not_thrown_away(tmp_path: Path) -> None:
    overrides = small(tmp_path, "model=gan", epochs=3)
    with pytest.raises(SystemExit):
        train(*overrides, "+callbacks.stop._target_=test_faults.StopTwice")
    run = directory_of(overrides)
    for path in run.checkpoints.glob("latest*"):
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="no checkpoint in it opens: overwrite=true"):
        train(*overrides)
    assert (run.checkpoints / "latest.ckpt").stat().st_size == 500
    train(*overrides, "overwrite=true")
    assert run.read_status()["status"] == "done"


def test_a_run_in_a_folder_with_spaces_and_letters_of_any_script(tmp_path: Path) -> None:
    folder = tmp_path / "mes résultats 数字 (1)"
    overrides = small(Path("x"), "model=vae")
    overrides = [text for text in overrides if not text.startswith("output_dir")]
    quoted = [*overrides, f"output_dir='{folder}'"]
    train(*quoted)
    run = directory_of(quoted)
    assert run.path.is_relative_to(folder)
    assert run.read_status()["status"] == "done"
    assert (run.figures / "samples.png").exists()
